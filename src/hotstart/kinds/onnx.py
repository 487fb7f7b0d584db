"""The kind `onnx`: any ONNX file, run on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hotstart.errors import InvalidInput, ModelDamaged
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import plain
from hotstart.kinds.files import find_file
from hotstart.ort import element_type, open_session, session_faults, session_options
from hotstart.system import available_cores
from hotstart.types import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
"""NumPy's names where ONNX's differ."""

_TAKEN = {"f": "fiub", "i": "iu", "u": "iu", "b": "b", "O": "U"}
"""By the kind of an input's type, the kinds of values that become it without loss of meaning."""


def load(material: ModelSource, report: Progress) -> Any:
    """Return an InferenceSession of the file `material.source`, on all cores of this process.

    External weights beside the file are found. There are no options.

    Raises:
        ModelFileMissing: the path is not a file.
        ModelDamaged: ONNX Runtime cannot run it, or its SHA-256 differs from the configured one.
    """
    report("reading", 0.0)
    path = find_file(material)
    options = session_options(available_cores())
    report("session", 0.5)
    try:
        return open_session(path, options, optimize=True)
    except session_faults() as error:
        raise ModelDamaged(path, reason=_first_line(error)) from error


def predict(model: Any, inputs: Any, material: ModelSource) -> dict[str, Any]:
    """Return every output by name as nested lists, for `inputs` by name.

    Integers are accepted as floats, but not the reverse; no value is rounded or truncated.

    Raises:
        InvalidInput: names, types or shapes differ from those of the model.
    """
    wanted = {entry.name: entry for entry in model.get_inputs()}
    if not isinstance(inputs, Mapping) or inputs.keys() != wanted.keys():
        got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise InvalidInput("inputs", got=got, expected=_all_described(wanted))
    arrays = {name: _array(inputs[name], entry) for name, entry in wanted.items()}
    try:
        answers = model.run(None, arrays)
    except session_faults() as error:
        expected = f"{_all_described(wanted)}, of shapes that fit each other"
        raise InvalidInput("inputs", got=_first_line(error), expected=expected) from error
    names = [entry.name for entry in model.get_outputs()]
    return {name: plain(answer) for name, answer in zip(names, answers, strict=True)}


def _array(value: Any, entry: Any) -> NDArray[Any]:
    import numpy as np

    name = f"input {entry.name!r}"
    try:
        natural = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InvalidInput(name, got=_shortened(value), expected=_described(entry)) from error
    array = _cast(natural, entry)
    if array is None:
        got = str(natural.dtype) if natural.dtype.kind != "O" else _shortened(value)
        raise InvalidInput(name, got=got, expected=_described(entry))
    declared = entry.shape
    if declared and not _fits(array.shape, declared):  # an unknown shape is empty too
        raise InvalidInput(name, got=array.shape, expected=_described(entry))
    return array


def _cast(natural: NDArray[Any], entry: Any) -> NDArray[Any] | None:
    """Return the values as the type of the input; None if they do not fit."""
    import numpy as np

    try:
        dtype = np.dtype(_dtype(entry))
    except TypeError:  # for example a sequence, a map or an 8-bit float
        return None
    if natural.size and natural.dtype.kind not in _TAKEN[dtype.kind]:
        return None
    if natural.size and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(natural.min()) < limits.min or int(natural.max()) > limits.max:
            return None
    try:
        with np.errstate(over="raise"):
            return natural.astype(dtype)
    except FloatingPointError:
        return None


def _dtype(entry: Any) -> str:
    told = element_type(entry)
    return _DTYPES.get(told, told)


def _fits(shape: tuple[int, ...], declared: list[int | str | None]) -> bool:
    return len(shape) == len(declared) and all(
        length == wanted or not isinstance(wanted, int)
        for length, wanted in zip(shape, declared, strict=True)
    )


def _all_described(entries: Mapping[str, Any]) -> str:
    return "; ".join(f"{name!r}: {_described(entry)}" for name, entry in entries.items())


def _described(entry: Any) -> str:
    """Return type and shape of an input, for example `float32 (batch, 4)`."""
    told = "text" if element_type(entry) == "string" else _dtype(entry)
    lengths = ", ".join("any" if length is None else str(length) for length in entry.shape)
    return f"{told} ({lengths})"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
