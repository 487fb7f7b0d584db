"""Which lines of a chunk are shown, and what in them is marked."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotstart.search import SearchIndex
from hotstart.search.excerpt import Line, alone, take_excerpt, within_file
from hotstart.search.lexical import LexicalIndex, WantedWords


def wanted(tmp_path: Path, query: str) -> WantedWords:
    return LexicalIndex(str(tmp_path / "lexical")).wanted(query)


def shown(tmp_path: Path, query: str, text: str, context: int | None = None) -> list[str]:
    """Return the lines shown, each behind its number, with what is marked in brackets."""
    excerpt = take_excerpt(alone(text, 11), wanted(tmp_path, query), context)
    return [f"{line.number} {marked(line)}" for line in excerpt.lines]


def marked(line: Line) -> str:
    text = line.text
    for start, end in reversed(line.matches):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


TEXT = "one\n\ntwo words\n    a word\nthree\n\nfour\nfive words two\nsix"


def test_the_best_lines_come_with_what_follows(tmp_path: Path) -> None:
    assert shown(tmp_path, "six", TEXT) == ["17 four", "18 five words two", "19 [six]"]
    assert shown(tmp_path, "one", TEXT) == ["11 [one]", "13 two words", "14     a word"]
    assert shown(tmp_path, "quokka", TEXT)[0] == "11 one"  # found by its meaning


def test_each_line_shown_adds_words_that_the_others_lack(tmp_path: Path) -> None:
    assert shown(tmp_path, "word two six", TEXT) == [
        "13 [two] [words]",
        "18 five [words] [two]",
        "19 [six]",
    ]
    assert take_excerpt(alone(TEXT, 11), wanted(tmp_path, "word two six"), None).line == 13


def test_context_is_around_each_line_that_answers(tmp_path: Path) -> None:
    assert shown(tmp_path, "six", TEXT, 0) == ["19 [six]"]
    assert shown(tmp_path, "three", TEXT, 1) == ["14     a word", "15 [three]", "16 "]


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("evictions", "def [evict]_idle(self): # [evicting]"),
        ("getUserById", "x = [get]_[user]_[by]_[id]([user])"),
        ("modern", "a model of [modern] times"),
        ("E\u0301tude", "une [e\u0301tude], deux [\u00e9tudes]"),
        ("机器学习", "关于[机器学习]的书"),
        ("the pool", "the [pool] of the house"),
    ],
)
def test_words_are_marked_as_they_are_found(tmp_path: Path, query: str, line: str) -> None:
    text = line.replace("[", "").replace("]", "")
    assert shown(tmp_path, query, text) == [f"11 {line}"]


def test_a_chunk_is_found_where_it_moved(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("new\nx\ny\nnew\nx\ny\n")
    place = within_file(str(path), "x\ny", 5)
    assert (place.start, place.end, place.first, place.note) == (4, 6, 1, None)
    path.write_text("new\n")
    assert within_file(str(path), "x\ny", 5).note == "changed since it was indexed"
    path.write_bytes(b"\0")
    assert within_file(str(path), "x\ny", 5).note == "binary"
    path.unlink()
    assert within_file(str(path), "x\ny", 5).note == "no longer there"


def test_an_index_takes_the_excerpt_of_its_hit(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("first\nthe quokka\nlast\n")
    index = SearchIndex(tmp_path)
    index.update()
    (hit,) = index.search("quokkas").hits
    assert index.excerpt("quokkas", hit).line == 2
    assert [line.number for line in index.excerpt("quokkas", hit, context=0).lines] == [2]
