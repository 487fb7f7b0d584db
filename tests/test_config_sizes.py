from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.config import bytes_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("7", 7), ("7B", 7), ("64MB", 64 * 10**6), ("64 mb", 64 * 10**6), ("1.5GB", 1.5e9)),
        *(("2GiB", 2 * 2**30), ("1kB", 1000), ("1KiB", 1024), ("1TB", 10**12)),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert bytes_of(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 000", "1XB", "1MBB", "nan", "1e3"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A"):
        bytes_of(text)


@given(st.integers(0, 10**15))
def test_a_number_is_itself(number: int) -> None:
    assert bytes_of(str(number)) == number
