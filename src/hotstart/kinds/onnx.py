"""The kind `onnx`: any ONNX file, run on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hotstart.errors import InvalidInput, ModelDamaged
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import plain
from hotstart.kinds.files import find_file
from hotstart.ort_package import element_type, open_session, session_faults
from hotstart.system import available_cores
from hotstart.types import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
"""NumPy's names of dtypes that ONNX names differently."""

_ACCEPTED_KINDS = {"f": "fiub", "i": "iu", "u": "iu", "b": "b", "O": "U"}
"""Kinds of NumPy values that convert without loss, by the kind of the input's dtype."""


def load(material: ModelSource, report: Progress) -> Any:
    """Return an InferenceSession of the file `material.source`, using all available cores.

    External weights are read from the same folder. This kind has no options.

    Raises:
        ModelFileMissing: the source is not a file.
        ModelDamaged: ONNX Runtime cannot run the file, or the SHA-256 differs.
    """
    report("reading", 0.0)
    path = find_file(material)
    report("session", 0.5)
    try:
        return open_session(path, threads=available_cores(), optimize=True)
    except session_faults() as error:
        raise ModelDamaged(path, reason=_first_line(error)) from error


def predict(model: Any, inputs: Any, material: ModelSource) -> dict[str, Any]:
    """Return every output by name, as nested lists, for `inputs` by name.

    Integers are accepted for float inputs, but floats are not accepted for integer inputs. Values
    are never rounded or truncated.

    Raises:
        InvalidInput: the names, types or shapes differ from the model's inputs.
    """
    entries = {entry.name: entry for entry in model.get_inputs()}
    if not isinstance(inputs, Mapping) or inputs.keys() != entries.keys():
        got = sorted(map(str, inputs)) if isinstance(inputs, Mapping) else type(inputs).__name__
        raise InvalidInput("inputs", got=got, expected=_describe_all(entries))
    arrays = {name: _array(inputs[name], entry) for name, entry in entries.items()}
    try:
        outputs = model.run(None, arrays)
    except session_faults() as error:
        if "alloc" in str(error):  # of the model's own making, whatever the inputs are
            raise MemoryError(f"{material.source} needs more memory than there is") from error
        expected = f"{_describe_all(entries)}, with consistent shapes"
        raise InvalidInput("inputs", got=_first_line(error), expected=expected) from error
    names = [entry.name for entry in model.get_outputs()]
    return {name: plain(output) for name, output in zip(names, outputs, strict=True)}


def _array(value: Any, entry: Any) -> NDArray[Any]:
    import numpy as np

    name = f"input {entry.name!r}"
    try:
        natural = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise InvalidInput(name, got=_shorten(value), expected=_describe(entry)) from error
    array = _cast(natural, entry)
    if array is None:
        got = str(natural.dtype) if natural.dtype.kind != "O" else _shorten(value)
        raise InvalidInput(name, got=got, expected=_describe(entry))
    declared = entry.shape
    if declared and not _fits(array.shape, declared):  # an unknown shape is also empty
        raise InvalidInput(name, got=array.shape, expected=_describe(entry))
    return array


def _cast(natural: NDArray[Any], entry: Any) -> NDArray[Any] | None:
    """Return the values in the input's dtype, or None if the dtype cannot represent them."""
    import numpy as np

    try:
        dtype = np.dtype(_dtype(entry))
    except TypeError:  # NumPy has no such dtype: a sequence, a map, an 8-bit float
        return None
    if natural.size and natural.dtype.kind not in _ACCEPTED_KINDS[dtype.kind]:
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
    name = element_type(entry)
    return _DTYPES.get(name, name)


def _fits(shape: tuple[int, ...], declared: list[int | str | None]) -> bool:
    return len(shape) == len(declared) and all(
        length == expected or not isinstance(expected, int)
        for length, expected in zip(shape, declared, strict=True)
    )


def _describe_all(entries: Mapping[str, Any]) -> str:
    return "; ".join(f"{name!r}: {_describe(entry)}" for name, entry in entries.items())


def _describe(entry: Any) -> str:
    """Return an input's type and shape, such as `float32 (batch, 4)`."""
    dtype = "text" if element_type(entry) == "string" else _dtype(entry)
    lengths = ", ".join("any" if length is None else str(length) for length in entry.shape)
    return f"{dtype} ({lengths})"


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
