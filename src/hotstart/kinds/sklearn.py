"""The kind `sklearn`: skops files, and pickles by their SHA-256."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput, ModelDamaged, TypesRefused
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import frame, plain
from hotstart.kinds.files import SUFFIXES, find_file, load_pickle
from hotstart.types import Progress

METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")

_DAMAGE = (
    *(zipfile.BadZipFile, KeyError, IndexError, TypeError, ValueError, AttributeError),
    *(EOFError, RecursionError, NotImplementedError),
)
"""Errors of skops for a file of another format, because skops checks almost nothing."""


def load(material: ModelSource, report: Progress) -> Any:
    """Return the model of the file `material.source`: a skops file or a pickle (see `load_pickle`).

    `material.trusted` must contain every type of a skops file that skops does not trust by default.
    The option `method`, one of METHODS, is the model's method that `predict` calls.

    Raises:
        ModelFileMissing: the source is not a file.
        ModelDamaged: the file cannot be read, or is not a skops file. No code of it was run.
        TypesRefused: the file contains untrusted types. No code of it was run.
        PickleRefused: the SHA-256 of a pickle is missing or differs. No code of it was run.
        InvalidInput: the model does not have the method, or the file suffix is unknown.
    """
    suffix = os.path.splitext(material.source)[1].lower()
    if suffix not in (".skops", *SUFFIXES):
        expected = f"a file whose name ends in .skops, {', '.join(SUFFIXES)}"
        raise InvalidInput("source", got=material.source, expected=expected)
    report("reading", 0.0)
    model = _load_skops(material) if suffix == ".skops" else load_pickle(material)
    _method(model, material)
    return model


def predict(model: Any, inputs: Any, material: ModelSource) -> list[Any]:
    """Return the output of the model's method, one entry per row, arrays as nested lists.

    Args:
        model: the loaded model.
        inputs: rows, each a list of numbers (None for unknown) or texts, a mapping with the
            feature names of the fit (other keys are ignored), or a text.
        material: the source of the model, with its option `method`.

    Raises:
        InvalidInput: the rows do not match the fit.
        MissingExtra: the model was fitted with feature names, and pandas is not installed.
    """
    method = _method(model, material)
    rows = inputs if isinstance(inputs, list) else plain(inputs)
    if not isinstance(rows, list):
        expected = "a list of rows, each a list of numbers or a mapping of names to numbers"
        raise InvalidInput("inputs", got=type(inputs).__name__, expected=expected)
    if not rows:
        return []
    table = _table(model, rows)
    try:
        outputs: list[Any] = plain(method(table))
    except AttributeError:  # includes NotFittedError, which is also a ValueError
        raise
    except (ValueError, TypeError) as error:
        expected = "rows of the same form as in the fit"
        raise InvalidInput("inputs", got=_first_line(error), expected=expected) from error
    return outputs


def _load_skops(material: ModelSource) -> Any:
    path = find_file(material)
    _check_archive(path)
    require("sklearn", extra="sklearn")
    skops = require("skops.io", extra="sklearn")
    with open(path, "rb") as file:  # check and load the same file, even if it is replaced
        try:
            unknown = set(skops.get_untrusted_types(file=file)) - set(material.trusted)
        except _DAMAGE as error:
            raise ModelDamaged(path, reason=_skops_fault(error)) from error
        if unknown:
            raise TypesRefused(path, types=sorted(unknown))
        return _read_skops(skops, file, path, material.trusted)


_MOST_TIMES = 100  # bytes unpacked, as a multiple of the file; skops does not compress by default
_LEAST = 100_000_000  # bytes that any file may unpack to


def _check_archive(path: str) -> None:
    """Raise ModelDamaged for an archive that unpacks to far more than it is."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            schema = [e.file_size for e in archive.infolist() if e.filename == "schema.json"]
    except (zipfile.BadZipFile, ValueError, OSError):
        return  # skops says what is wrong
    if (
        unpacked > max(_LEAST, _MOST_TIMES * os.path.getsize(path))
        or max(schema, default=0) > _LEAST
    ):
        raise ModelDamaged(path, reason=f"it unpacks to {unpacked} bytes")


def _read_skops(skops: Any, file: IO[bytes], path: str, trusted: Sequence[str]) -> Any:
    """Load the file; skops checks the types again, in case the file was overwritten."""
    try:
        return skops.load(file, trusted=list(trusted))
    except _DAMAGE as error:
        raise ModelDamaged(path, reason=_skops_fault(error)) from error


def _skops_fault(error: Exception) -> str:
    return f"skops cannot read it ({type(error).__name__}: {_first_line(error)})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _method(model: Any, material: ModelSource) -> Any:
    """Return the bound method that the option `method` names."""
    name = material.options.get("method", "predict")
    available = [each for each in METHODS if hasattr(model, each)]
    if name not in available:
        expected = f"one of {', '.join(available)}, which {type(model).__name__} has"
        raise InvalidInput("method", got=name, expected=expected)
    return getattr(model, name)


def _table(model: Any, rows: list[Any]) -> Any:
    """Return the rows in the form of the fit: a DataFrame, an array, or texts."""
    names = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    first = rows[0]
    if isinstance(first, Mapping):
        return _named(rows, None if names is None else list(names), count)
    if isinstance(first, str):
        _check_rows(rows, str, "a text")
        return rows
    _check_rows(rows, list, "a list" if count is None else f"a list of {count} numbers")
    length = len(first) if count is None else count
    for position, row in enumerate(rows):
        if len(row) != length:
            got = f"a list of {len(row)}"
            raise InvalidInput(f"inputs[{position}]", got=got, expected=f"a list of {length}")
    return _array(rows) if names is None else frame(rows, extra="pandas", columns=names)


def _named(rows: list[Any], names: list[str] | None, count: int | None) -> Any:
    if names is None and count is not None:
        # scikit-learn would use the columns in the order of the mapping
        expected = f"a list of {count} numbers, because the model was fitted without names"
        raise InvalidInput("inputs[0]", got="a mapping", expected=expected)
    _check_rows(rows, Mapping, "a mapping of names to numbers")
    columns = list(rows[0]) if names is None else names
    for position, row in enumerate(rows):
        missing = [name for name in columns if name not in row]
        if missing:
            expected = f"a mapping with {', '.join(columns)}"
            raise InvalidInput(f"inputs[{position}]", got=sorted(map(str, row)), expected=expected)
    return frame(rows, extra="pandas", columns=columns)


def _check_rows(rows: list[Any], required: type, expected: str) -> None:
    for position, row in enumerate(rows):
        if not isinstance(row, required):
            got = type(row).__name__
            raise InvalidInput(f"inputs[{position}]", got=got, expected=expected)


def _array(rows: list[list[Any]]) -> Any:
    import numpy as np

    dtype: Any = float
    if any(isinstance(entry, str) for row in rows for entry in row):
        dtype = object
    elif _are_integers(rows):
        dtype = None
    try:
        return np.array(rows, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("inputs", got=rows, expected=f"lists of numbers ({error})") from error


def _are_integers(rows: list[list[Any]]) -> bool:
    """Return whether all values are integers; some models distinguish integers from floats."""
    return all(type(entry) is int and abs(entry) < 1 << 63 for row in rows for entry in row)
