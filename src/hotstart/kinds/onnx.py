"""Any ONNX model, in a session of ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

from hotstart.errors import InvalidInput, ModelDamaged
from hotstart.kinds.base import Material
from hotstart.kinds.files import expect_file
from hotstart.kinds.plain import plain
from hotstart.resources import available_cores
from hotstart.sessions import open_session
from hotstart.types import Progress

_TYPES = {"float": "float32", "double": "float64", "string": "object"}  # others are as NumPy's


def load(material: Material, report: Progress) -> Any:
    """Return the `onnxruntime.InferenceSession` of the file `material.source`.

    Raises:
        ModelFileMissing: there is no such file.
        ModelDamaged: ONNX Runtime cannot make a session of it.
    """
    report("session", 0.3)
    expect_file(material.source)
    try:
        return open_session(material.source, available_cores())
    except Exception as error:  # ONNX Runtime's own have no common base
        raise ModelDamaged(material.source, reason=str(error)) from error


def predict(model: Any, inputs: Any, material: Material) -> Any:
    """Return {output: nested lists} for {input: nested lists}, each of the type the model names."""
    wanted = {entry.name: entry for entry in model.get_inputs()}
    if not isinstance(inputs, dict) or inputs.keys() != wanted.keys():
        raise InvalidInput("inputs", got=inputs, expected=f"a table of {_told(wanted)}")
    try:
        fed = {name: _array(value, wanted[name]) for name, value in inputs.items()}
        found = model.run(None, fed)
    except Exception as error:  # the same
        raise InvalidInput("inputs", got=str(error), expected=_told(wanted)) from error
    return dict(zip((entry.name for entry in model.get_outputs()), map(plain, found), strict=True))


def _array(value: Any, entry: Any) -> Any:
    import numpy as np

    name = str(entry.type).removeprefix("tensor(").removesuffix(")")
    return np.asarray(value, _TYPES.get(name, name))


def _told(wanted: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {entry.type} {entry.shape}" for name, entry in wanted.items())
