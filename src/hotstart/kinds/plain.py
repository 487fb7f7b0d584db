"""Answers of libraries as what JSON can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return `value` made of dicts, lists, texts, numbers, booleans and None alone.

    NumPy's and pandas' arrays become lists, their numbers Python's, times texts in ISO format. A
    number that is not finite becomes None: JSON has none. What is nothing of all this becomes its
    text.
    """
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(entry) for entry in value]
    for spoken in ("tolist", "isoformat", "toarray"):
        if hasattr(value, spoken):
            return plain(getattr(value, spoken)())
    return str(value)
