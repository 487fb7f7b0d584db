from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.lexical import MOST_WORDS, parts_of, query_words


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("getModelName()", ["get", "model", "name"]),
        ("HTTPServer getID", ["http", "server", "get", "id"]),
        ("Model2Vec", ["model", "2", "vec"]),
        ("Model NAME plain snake_case sha256", []),
    ],
)
def test_identifiers_are_taken_apart(text: str, parts: list[str]) -> None:
    assert parts_of(text) == parts


def test_the_words_of_a_query_are_distinct_and_few() -> None:
    assert query_words('title:"Get AND getName get"') == ["title", "get", "and", "getname", "name"]
    assert query_words("?! --") == []
    assert len(query_words(" ".join(map(str, range(500))))) == MOST_WORDS


@given(st.text())
def test_words_hold_letters_and_digits_alone(query: str) -> None:
    assert all(word.isalnum() for word in query_words("i" + query) if word.isascii())
