"""Tables of named columns; the only file that imports pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hotstart._lazy import require


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
