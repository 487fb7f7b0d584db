"""How far two answers of a model lie apart. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

ENTIRELY = math.inf
"""Of answers that do not have the same shape, or differ in what is no number."""


def difference(one: Any, other: Any) -> float:
    """Return the greatest difference between numbers of two answers that stand in the same place.

    0 where they are equal, and where both are not a number or both nothing; `ENTIRELY` where their
    shapes, their keys, or anything else that is no number differ.
    """
    one, other = _plain(one), _plain(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if one.keys() != other.keys():
            return ENTIRELY
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if _is_sequence(one) and _is_sequence(other):
        if len(one) != len(other):
            return ENTIRELY
        return max((difference(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if _is_number(one) and _is_number(other):
        same = one == other or (math.isnan(one) and math.isnan(other))
        apart = abs(one - other)
        return 0.0 if same else ENTIRELY if math.isnan(apart) else float(apart)
    return 0.0 if one == other else ENTIRELY


def is_finite(answer: Any) -> bool:
    """Return whether every number of `answer` is a finite one."""
    answer = _plain(answer)
    if isinstance(answer, Mapping):
        return all(map(is_finite, answer.values()))
    if _is_sequence(answer):
        return all(map(is_finite, answer))
    return not _is_number(answer) or math.isfinite(answer)


def _plain(answer: Any) -> Any:
    """NumPy's arrays and numbers as Python's."""
    return answer.tolist() if hasattr(answer, "tolist") else answer


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
