"""Convert model outputs to JSON values, and rows to DataFrames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from hotstart._lazy import require


def plain(value: Any) -> Any:
    """Return `value` converted to JSON values.

    Values of NumPy, pandas, scipy.sparse and torch are converted. Arrays and sparse matrices become
    nested lists, and a Series becomes a list. A DataFrame becomes a list with one mapping per row.
    Dates and times become ISO texts. NaN, infinity, NaT and NA become None, because JSON cannot
    represent them. Tuples and sets become lists, and mapping keys become texts. Any other value is
    unchanged.
    """
    if value is None or isinstance(value, (str, bool, int)):
        return _plain_number(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if isinstance(value, (date, time)):
        return value.isoformat() if value == value else None  # only NaT is unequal to itself
    return _plain_of_library(value)


def _plain_number(value: Any) -> Any:
    """Convert a subclass of str, such as NumPy's, to str."""
    return str(value) if isinstance(value, str) else value


def _plain_of_library(value: Any) -> Any:
    """Convert a library's value; duck typing avoids importing the library."""
    if type(value).__name__ == "NAType":  # pandas.NA has no truth value to compare
        return None
    if hasattr(value, "toarray"):  # a sparse matrix
        return plain(value.toarray())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if not (hasattr(value, "tolist") and hasattr(value, "dtype")):
        return value
    if hasattr(value, "__array_interface__") and value.dtype.kind in "mM":
        return _without_nat(value.astype(str).tolist())  # tolist of datetime64 gives nanoseconds
    converted = value.tolist()
    if type(converted) is type(value):  # NumPy's long doubles have no Python type
        return plain(float(value)) if value.dtype.kind == "f" else value
    return plain(converted)


def _without_nat(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_without_nat(text) for text in texts]
    return None if texts == "NaT" else texts


def frame(
    content: Sequence[Any] | Mapping[str, Any], *, extra: str, columns: Sequence[str] | None = None
) -> Any:
    """Return a DataFrame of rows (mappings or lists) or of columns by name.

    A column with a text stays of Python objects: in the texts of pandas 3, None would become NaN,
    which is another value to a model.

    Args:
        content: the rows, or the columns.
        extra: the extra of hotstart to name if pandas is missing.
        columns: the column names in order; None for the names in `content`.
    """
    pandas = require("pandas", extra=extra)
    named = None if columns is None else list(columns)
    objects = pandas.DataFrame(content, columns=named, dtype=object)
    for name in objects.columns:
        values = objects[name].tolist()
        if not any(isinstance(value, str) for value in values):
            objects[name] = pandas.Series(values, index=objects.index)
    return objects


def timestamps(dates: Sequence[Any]) -> Any:
    """Return ISO dates as pandas timestamps without a time zone, as Prophet requires.

    Raises:
        ValueError: an entry is not a date.
    """
    pandas = require("pandas", extra="prophet")
    return pandas.to_datetime(list(dates), errors="raise", format="ISO8601")
