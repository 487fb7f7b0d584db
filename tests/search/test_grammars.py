from __future__ import annotations

import time
from pathlib import Path

import pytest

from hotstart.search import grammars
from hotstart.search.grammars import LANGUAGES, Language, has_grammar, parse

SOURCES = Path(__file__).parents[1] / "data" / "outlines"


def expected() -> dict[str, list[str]]:
    """Return the outlines that an editor shows, written down by hand."""
    outlines: dict[str, list[str]] = {}
    for line in (SOURCES / "expected.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            outlines[line[2:]] = []
        else:
            outlines[list(outlines)[-1]].append(line)
    return outlines


def lines_of(name: str) -> list[str]:
    return (SOURCES / f"{name}.txt").read_text(encoding="utf-8").split("\n")


def outline(path: str, lines: list[str]) -> list[str]:
    syntax = parse(path, lines, 1200)
    assert syntax is not None
    return [
        f"{one.start + 1}-{one.end} {'  ' * one.depth}{one.title}" for one in syntax.definitions
    ]


@pytest.mark.parametrize("name", expected())
def test_definitions_are_those_of_an_editors_outline(name: str) -> None:
    assert outline(name, lines_of(name)) == expected()[name]


def test_every_language_has_a_source_with_its_outline() -> None:
    extensions = {Path(name).suffix for name in expected()}
    assert {LANGUAGES[one] for one in extensions} == set(LANGUAGES.values())


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("pool.py", "LIMIT Pool Empty __str__ free get retry make"),
        ("pool.go", "Limit ErrEmpty Pool Name Opener New Get Map"),
        (
            "pool.rs",
            "LIMIT Pool State Pool new get retry Pool fmt Open Error open close pool tests",
        ),
        ("pool.c", "LIMIT FREE pool state_t mode color size_of pool_new pool_dump pool_opener"),
        (
            "Pool.java",
            "Pool LIMIT free Pool close get Mapper map State isOpen Name Name Shared value",
        ),
        ("pool.sql", "pools pools_by_name free_pools state take pools_changed"),
    ],
)
def test_names_are_those_that_are_defined(name: str, names: str) -> None:
    syntax = parse(name, lines_of(name), 1200)
    assert syntax is not None
    found = {(one.name_line, one.name) for one in syntax.definitions} | set(syntax.constants)
    assert [each for _, each in sorted(found)][: len(names.split())] == names.split()


def test_a_signature_is_what_stands_before_the_body() -> None:
    syntax = parse("pool.py", lines_of("pool.py"), 1200)
    assert syntax is not None
    signatures = {one.title: one.signature for one in syntax.definitions}
    assert signatures["def get"] == "async def get(self, name, timeout=None):"
    assert signatures["class Empty"] == "class Empty(Exception):"


def test_an_unfinished_source_has_the_definitions_that_are_there() -> None:
    lines = [
        "def one():",
        "    return 1",
        "",
        "class Two:",
        "    def three(self):",
        "        x = 1",
    ]
    assert outline("a.py", [*lines, "", "def four("])[:3] == [
        "1-2 def one",
        "4-6 class Two",
        "5-6   def three",
    ]


@pytest.mark.parametrize("text", ["this is no source) at all: (", "<html><p>it's</p></html>"])
def test_what_is_no_source_has_no_syntax(text: str) -> None:
    assert parse("a.java", [text], 1200) is None


def test_statements_of_a_long_function_are_seams_with_their_comments() -> None:
    body = ["    call(", "        1,", "    )", "", "    # about it", "    if x:", "        y()"]
    lines = ["def f():", *body, *body]
    syntax = parse("a.py", lines, 60)
    assert syntax is not None
    depth = syntax.seams[1]
    assert [line for line, of in sorted(syntax.seams.items()) if of == depth] == [1, 5, 8, 12]
    parsed = parse("a.py", lines, 1200)
    assert parsed is not None
    assert not parsed.seams  # nothing is long


def test_without_its_grammar_a_file_has_no_syntax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammars, "_is_installed", lambda package: False)
    assert not has_grammar("a.py")
    assert parse("a.py", ["def f(): pass"], 1200) is None


@pytest.mark.parametrize(
    "language",
    [
        Language("tree_sitter_python", "(no_such_node) @item"),
        Language("tree_sitter_python", "", "no_such_function"),
        Language("tree_sitter_of_nobody", ""),
    ],
)
def test_a_grammar_of_another_version_is_not_used(
    language: Language, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(grammars, "_is_installed", lambda package: True)
    monkeypatch.setitem(LANGUAGES, ".py", language)
    assert parse("a.py", ["def f(): pass"], 1200) is None
    assert f"{language.package} cannot be used" in caplog.text


@pytest.mark.parametrize("text", ["(" * 30_000, "{ [" * 20_000, "a." * 20_000])
def test_no_text_takes_for_ever(text: str) -> None:
    began = time.process_time()
    for name in expected():
        parse(name, [text], 1200)
    assert time.process_time() - began < 30
