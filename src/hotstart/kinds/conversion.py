"""Convert model outputs to JSON values, and rows to DataFrames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any

from hotstart._lazy import require


def plain(value: Any) -> Any:
    """Return `value` with its arrays, frames and scalars as lists, mappings, numbers and texts.

    Of NumPy, pandas, scipy.sparse and torch: an array becomes nested lists, a Series a list, a
    DataFrame a list of one mapping a row, a sparse matrix a full one, a date or time its ISO text.
    What is no finite number (NaN, infinity, NaT, NA) becomes None: JSON has no word for it. Tuples
    and sets become lists, and the keys of a mapping texts. Anything else is returned as it is.
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
        return value.isoformat() if value == value else None  # NaT alone differs from itself
    return _plain_of_library(value)


def _plain_number(value: Any) -> Any:
    """Without the subclass: NumPy's texts are of one."""
    return str(value) if isinstance(value, str) else value


def _plain_of_library(value: Any) -> Any:
    """Known by what they can do, so that no library is imported to ask."""
    if type(value).__name__ == "NAType":  # pandas', which has no truth to compare
        return None
    if hasattr(value, "toarray"):  # a sparse matrix
        return plain(value.toarray())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if not (hasattr(value, "tolist") and hasattr(value, "dtype")):
        return value
    if hasattr(value, "__array_interface__") and value.dtype.kind in "mM":
        return _without_nat(value.astype(str).tolist())  # NumPy's tolist would give nanoseconds
    listed = value.tolist()
    if type(listed) is type(value):  # NumPy's long doubles have no counterpart
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
        content: the rows, or the columns.
        extra: of hotstart, which brings pandas to who asks.
        columns: the names of the columns, in their order; None: as `content` has them.
    """
    pandas = require("pandas", extra=extra)
    return pandas.DataFrame(content, columns=None if columns is None else list(columns))


def timestamps(dates: Sequence[Any]) -> Any:
    """Return ISO dates as pandas' timestamps without a zone, as Prophet takes them.

    Raises:
        ValueError: one is no date.
    """
    pandas = require("pandas", extra="prophet")
    return pandas.to_datetime(list(dates), errors="raise", format="ISO8601")
