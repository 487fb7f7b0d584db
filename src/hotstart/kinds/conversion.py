"""Convert model outputs to JSON values, and rows to DataFrames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from hotstart._lazy import require


def plain(value: Any) -> Any:
    """Return `value` with arrays, frames and scalars converted to JSON values.

    For NumPy, pandas, scipy.sparse and torch: an array becomes nested lists, a Series a list, a
    DataFrame a list of mappings, a sparse matrix nested lists, a date or time an ISO string. NaN,
    infinity, NaT and NA become None, because JSON cannot express them. Tuples and sets become
    lists, keys of mappings strings. Other values are returned unchanged.
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
        return value.isoformat() if value == value else None  # only NaT differs from itself
    return _plain_of_library(value)


def _plain_number(value: Any) -> Any:
    """Return a plain number or string: NumPy's are subclasses."""
    return str(value) if isinstance(value, str) else value


def _plain_of_library(value: Any) -> Any:
    """Convert by duck typing, without importing a library."""
    if type(value).__name__ == "NAType":  # pandas.NA has no truth value
        return None
    if hasattr(value, "toarray"):  # a sparse matrix
        return plain(value.toarray())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if not (hasattr(value, "tolist") and hasattr(value, "dtype")):
        return value
    if hasattr(value, "__array_interface__") and value.dtype.kind in "mM":
        return _without_nat(value.astype(str).tolist())  # tolist of NumPy would return nanoseconds
    listed = value.tolist()
    if type(listed) is type(value):  # long doubles of NumPy have no Python type
        return plain(float(value)) if value.dtype.kind == "f" else value
    return plain(listed)


def _without_nat(texts: Any) -> Any:
    if isinstance(texts, list):
        return [_without_nat(text) for text in texts]
    return None if texts == "NaT" else texts


def frame(
    content: Sequence[Any] | Mapping[str, Any], *, extra: str, columns: Sequence[str] | None = None
) -> Any:
    """Return a DataFrame of rows (mappings or lists) or of columns by name.

    Args:
        content: rows or columns.
        extra: extra of hotstart that installs pandas, for the error.
        columns: names of the columns in order; None for those of `content`.
    """
    pandas = require("pandas", extra=extra)
    return pandas.DataFrame(content, columns=None if columns is None else list(columns))


def timestamps(dates: Sequence[Any]) -> Any:
    """Return ISO dates as pandas timestamps without a time zone, as Prophet needs.

    Raises:
        ValueError: a value is not a date.
    """
    pandas = require("pandas", extra="prophet")
    return pandas.to_datetime(list(dates), errors="raise", format="ISO8601")
