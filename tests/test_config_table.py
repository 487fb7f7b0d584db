from __future__ import annotations

import re
from typing import Any

import pytest

from hotstart.config import Table
from hotstart.errors import InvalidInput

TABLE = Table(
    "models.m",
    {
        "text": "x",
        "number": 1.5,
        "whole": 3,
        "flag": True,
        "size": "2GB",
        "bytes": 1000,
        "texts": ["a", "b"],
        "tables": [{"a": 1}, {"b": 2}],
        "weights": {"v1": 90, "v2": 0},
    },
)


def test_table_returns_typed_values() -> None:
    assert TABLE.text("text") == "x"
    assert TABLE.number("number") == 1.5
    assert TABLE.number("whole") == 3
    assert TABLE.count("whole") == 3
    assert TABLE.flag("flag")
    assert TABLE.size("size") == 2 * 10**9
    assert TABLE.size("bytes") == 1000
    assert TABLE.texts("texts") == ("a", "b")
    assert [table.content for table in TABLE.tables("tables")] == [{"a": 1}, {"b": 2}]
    assert TABLE.weights("weights") == {"v1": 90, "v2": 0}


def test_absent_key_returns_default() -> None:
    for take in (TABLE.text, TABLE.number, TABLE.count, TABLE.size):
        assert take("no") is None
    assert not TABLE.flag("no")
    assert TABLE.texts("no") == ()
    assert TABLE.tables("no") == []
    assert TABLE.weights("no") == {}


@pytest.mark.parametrize(
    ("take", "value"),
    [
        *(("text", 1), ("text", ""), ("texts", "a"), ("texts", [1]), ("flag", 1), ("flag", "yes")),
        *(("count", 0), ("count", 1.5), ("count", True), ("number", -1), ("number", True)),
        *(("number", float("inf")), ("number", float("nan")), ("number", "3")),
        *(("size", "much"), ("size", 1.5), ("size", -1), ("tables", {}), ("tables", [1])),
        *(("weights", {"v1": 0}), ("weights", {"v1": -1}), ("weights", [1]), ("table", 3)),
    ],
)
def test_invalid_value_is_refused_by_name(take: str, value: Any) -> None:
    table = Table("models.m", {"key": value})
    with pytest.raises(InvalidInput, match=r"models\.m\.key"):
        getattr(table, take)("key")


def test_text_must_match_pattern() -> None:
    with pytest.raises(InvalidInput, match="of the form"):
        TABLE.text("text", re.compile("y"))


def test_unknown_key_error_names_known_keys() -> None:
    with pytest.raises(
        InvalidInput, match=r"key of \[models.m\] must be one of number, text, got 'whole'"
    ):
        Table("models.m", {"text": "x", "whole": 3}).refuse_others({"text", "number"})
