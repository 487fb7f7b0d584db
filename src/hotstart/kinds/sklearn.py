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
"""What skops raises of a file that is none of its own: it checks next to nothing."""


def load(material: ModelSource, report: Progress) -> Any:
    """Return the model in the file `material.source`: `.skops`, else a pickle (see `pickles`).

    Types in a skops file that skops does not trust must be in `material.trusted`. The option
    `method`, one of METHODS, is the method that `predict` calls.

    Raises:
        ModelFileMissing: the path is not a file.
        ModelDamaged: the file cannot be read or is not a skops file; no code of it was run.
        TypesRefused: the file contains types that are not trusted; no code of it was run.
        PickleRefused: a pickle without a matching SHA-256; no code of it was run.
        InvalidInput: the model lacks the method, or the file has another ending.
    """
    ending = os.path.splitext(material.source)[1].lower()
    if ending not in (".skops", *SUFFIXES):
        expected = f"a file whose name ends in .skops, {', '.join(SUFFIXES)}"
        raise InvalidInput("source", got=material.source, expected=expected)
    report("reading", 0.0)
    model = _load_skops(material) if ending == ".skops" else load_pickle(material)
    _method(model, material)
    return model


def predict(model: Any, inputs: Any, material: ModelSource) -> list[Any]:
    """Return the answer of the model's method, one entry a row, arrays as nested lists.

    Args:
        model: the model.
        inputs: rows: lists of numbers (None for an unknown one) or texts; mappings by the names the
            model was fitted with, whose other keys are ignored; or texts.
        material: source of the model with the option `method`.

    Raises:
        InvalidInput: the rows are not what the model was fitted with.
        MissingExtra: the model was fitted with names, and pandas is not installed.
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
        answers: list[Any] = plain(method(table))
    except AttributeError:  # includes NotFittedError, which is a ValueError too
        raise
    except (ValueError, TypeError) as error:
        expected = "rows like those the model was fitted with"
        raise InvalidInput("inputs", got=_first_line(error), expected=expected) from error
    return answers


def _load_skops(material: ModelSource) -> Any:
    path = find_file(material)
    require("sklearn", extra="sklearn")
    skops = require("skops.io", extra="sklearn")
    with open(path, "rb") as file:  # read once, even if the file is replaced meanwhile
        try:
            unknown = set(skops.get_untrusted_types(file=file)) - set(material.trusted)
        except _DAMAGE as error:
            raise ModelDamaged(path, reason=_unreadable(error)) from error
        if unknown:
            raise TypesRefused(path, types=sorted(unknown))
        return _read_skops(skops, file, path, material.trusted)


def _read_skops(skops: Any, file: IO[bytes], path: str, trusted: Sequence[str]) -> Any:
    """Load the file; skops audits the types again, because the file may have changed."""
    try:
        return skops.load(file, trusted=list(trusted))
    except _DAMAGE as error:
        raise ModelDamaged(path, reason=_unreadable(error)) from error


def _unreadable(error: Exception) -> str:
    return f"skops cannot read it ({type(error).__name__}: {_first_line(error)})"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")


def _method(model: Any, material: ModelSource) -> Any:
    """Return the bound method of the option `method`."""
    name = material.options.get("method", "predict")
    had = [each for each in METHODS if hasattr(model, each)]
    if name not in had:
        expected = f"one of {', '.join(had)}, which {type(model).__name__} has"
        raise InvalidInput("method", got=name, expected=expected)
    return getattr(model, name)


def _table(model: Any, rows: list[Any]) -> Any:
    """Return the rows in the form the model was fitted with: named, unnamed, or texts."""
    names = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    first = rows[0]
    if isinstance(first, Mapping):
        return _named(rows, None if names is None else list(names), count)
    if isinstance(first, str):
        _check_rows(rows, str, "a text")
        return rows
    needed = "a list" if count is None else f"a list of {count} numbers"
    _check_rows(rows, list, needed)
    length = len(first) if count is None else count
    for position, row in enumerate(rows):
        if len(row) != length:
            got = f"a list of {len(row)}"
            raise InvalidInput(f"inputs[{position}]", got=got, expected=f"a list of {length}")
    return _array(rows) if names is None else frame(rows, extra="pandas", columns=names)


def _named(rows: list[Any], names: list[str] | None, count: int | None) -> Any:
    if names is None and count is not None:
        # scikit-learn would not check the order of the columns
        expected = f"a list of {count} numbers, because the model was fitted without names"
        raise InvalidInput("inputs[0]", got="a mapping", expected=expected)
    _check_rows(rows, Mapping, "a mapping of names to numbers")
    needed = list(rows[0]) if names is None else names
    for position, row in enumerate(rows):
        missing = [name for name in needed if name not in row]
        if missing:
            expected = f"a mapping with {', '.join(needed)}"
            raise InvalidInput(f"inputs[{position}]", got=sorted(map(str, row)), expected=expected)
    return frame(rows, extra="pandas", columns=needed)


def _check_rows(rows: list[Any], wanted: type, expected: str) -> None:
    for position, row in enumerate(rows):
        if not isinstance(row, wanted):
            got = type(row).__name__
            raise InvalidInput(f"inputs[{position}]", got=got, expected=expected)


def _array(rows: list[list[Any]]) -> Any:
    import numpy as np

    texts = any(isinstance(entry, str) for row in rows for entry in row)
    try:
        return np.array(rows, dtype=object if texts else None if _whole(rows) else float)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInput("inputs", got=rows, expected=f"lists of numbers ({error})") from error


def _whole(rows: list[list[Any]]) -> bool:
    """Return whether all values are integers, which some models distinguish from floats."""
    return all(type(entry) is int and abs(entry) < 1 << 63 for row in rows for entry in row)
