from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.errors import InvalidInput
from hotstart.search.expressions import Expression

TEXT = "def load_pool():\n    return Pool(2)\n\nclass Pool:\n    size = 2  # größer\n"


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (r"[Pp]ool", [(0, 0), (1, 1), (3, 3)]),
        (r"^class \w+:$", [(3, 3)]),
        (r"(?i)POOL\(", [(0, 0), (1, 1)]),
        (r"\(2\)\n\nclass", [(1, 3)]),
        (r"gr\p{L}+er", [(4, 4)]),
        (r"o", [(0, 0), (1, 1), (3, 3)]),  # a line counts once
        (r"x*", []),  # no character
        (r"absent", []),
    ],
)
def test_matches_are_whole_lines(pattern: str, lines: list[tuple[int, int]]) -> None:
    assert list(Expression(pattern).lines(TEXT)) == lines


@pytest.mark.parametrize("pattern", ["(", "[", "a**", r"(a)\1", "(?=a)", "a{1001}", "\\"])
def test_a_pattern_that_re2_cannot_compile_is_named(pattern: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"regex must be a regular expression of RE2 \("
    ) as caught:
        Expression(pattern)
    assert "b'" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        (r"def \w+_pool", ["def ", "_pool"]),
        (r"foo(bar)?baz", ["foo", "baz"]),
        (r"ab?c{2}d+", ["a", "d"]),
        (r"std::vector<\.", ["std::vector<."]),
        (r"\bclass\s+Pool\b", ["class", "Pool"]),
        (r"[a\]-z]+ing$", ["ing"]),
        ("a|b", []),
        ("(?i)abc", []),
        (r"\x41bc", []),
        (r"\Qa.b\E", []),
    ],
)
def test_literals_are_what_each_match_holds(pattern: str, literals: list[str]) -> None:
    assert Expression(pattern).literals == literals


@given(
    st.text(alphabet="ab(|)*+?{}2,[]\\.^$dw", max_size=12), st.text(alphabet="ab2.\n", max_size=8)
)
def test_a_match_holds_every_literal(pattern: str, text: str) -> None:
    try:
        expression = Expression(pattern)
    except InvalidInput:
        return
    if list(expression.lines(text)):
        assert all(literal in text for literal in expression.literals)


def test_no_pattern_hangs() -> None:
    began = time.perf_counter()
    assert list(Expression("(x+x+)+y").lines("x" * 100_000)) == []
    assert time.perf_counter() - began < 5
