from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.registry.binding import ENTIRELY, difference, is_finite

ANSWERS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-(10**6), 10**6), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.5, 0.5),
        (3, 1.0, 2.0),
        ([1, 2], [1, 4], 2.0),
        ([[1.0], [2.0]], [[1.0], [2.25]], 0.25),
        ({"a": 1, "b": [2]}, {"b": [5], "a": 1}, 3.0),
        (np.array([1, 2]), [1, 2], 0.0),
        (np.float32(0.5), 0.25, 0.25),
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (math.inf, 1.0, ENTIRELY),
        (math.nan, 1.0, ENTIRELY),
        ([1], [1, 2], ENTIRELY),
        ([1], 1, ENTIRELY),
        ({"a": 1}, {"b": 1}, ENTIRELY),
        ("x", "x", 0.0),
        ("x", "y", ENTIRELY),
        (True, False, ENTIRELY),
        ("ab", ["a", "b"], ENTIRELY),
    ],
)
def test_differences(one: Any, other: Any, expected: float) -> None:
    assert difference(one, other) == expected
    assert difference(other, one) == expected


@given(ANSWERS)
def test_difference_to_itself_is_zero(answer: Any) -> None:
    assert difference(answer, answer) == 0.0


@given(ANSWERS, ANSWERS)
def test_difference_is_symmetric_and_not_negative(one: Any, other: Any) -> None:
    apart = difference(one, other)
    assert apart >= 0.0
    assert apart == difference(other, one)


@pytest.mark.parametrize("answer", [math.nan, [1, math.inf], {"a": [np.float32("nan")]}])
def test_is_finite_rejects_nan_and_infinity(answer: Any) -> None:
    assert not is_finite(answer)


@pytest.mark.parametrize("answer", [1, "nan", None, [True, 2.5], {"a": np.ones(3)}])
def test_is_finite_accepts_finite_answers(answer: Any) -> None:
    assert is_finite(answer)
