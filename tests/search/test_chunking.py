from __future__ import annotations

import gc
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotstart.search import chunking
from hotstart.search.chunking import LIMIT, chunk, python_outline

NAMES = ["a.md", "a.py", "a.txt", "a.ts", "a.java", "a.c", "a.rs", "a.rb", "a.go", "a.sh", "a"]
SNIPPETS = [
    "# One",
    "## Two ##",
    "```",
    "~~~~ py",
    "    # not one",
    "",
    "   ",
    "\f",
    "class A:",
    "class B: x = 1; y = 2",
    "    def f(self): pass",
    "    async def g(self):",
    "        return '''",
    "@decorated",
    "# about",
    "def f(): return 1",
    "function go() {",
    "}",
    "x" * 700,
    "y " * 900,
    "\x85\u2028odd",
    "é" * 30,
]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=40)), max_size=40).flatmap(
        lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(lines))
    ),
)


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(NAMES), text=TEXTS)
@example(path="a.py", text="\ud800")
@example(path="a.py", text="x = " + "(" * 5000)
@example(path="a.py", text="x = 1" + " + 1" * 20000)
@example(path="a.py", text="a\0b")
def test_chunks_cover_the_text_in_order_and_in_bounds(path: str, text: str) -> None:
    lines = re.split(r"\r\n|\r|\n", text)
    chunks = chunk(path, text)
    covered: set[int] = set()
    previous = (0, 0)
    for piece in chunks:
        assert 0 < len(piece.text) <= LIMIT
        assert piece.text.strip()
        assert 1 <= piece.start_line <= piece.end_line <= len(lines)
        assert piece.start_line > previous[1] or piece.start_line == piece.end_line == previous[1]
        previous = (piece.start_line, piece.end_line)
        span = lines[piece.start_line - 1 : piece.end_line]
        if len(span) == 1 and len(span[0]) > LIMIT:
            assert piece.text in span[0]
        else:
            assert piece.text == "\n".join(span)
        covered.update(range(piece.start_line, piece.end_line + 1))
    assert covered >= {number for number, line in enumerate(lines, 1) if line.strip()}


@pytest.mark.parametrize(("first", "chunks"), [(LIMIT - 601, 1), (LIMIT - 600, 2)])
def test_the_limit_is_kept_to_the_character(first: int, chunks: int) -> None:
    assert len(chunk("a.txt", "x" * first + "\n" + "y" * 600)) == chunks


@given(length=st.integers(LIMIT + 1, 5 * LIMIT))
def test_the_pieces_of_a_giant_line_are_the_line(length: int) -> None:
    line = "".join(chr(97 + i % 26) for i in range(length))
    assert "".join(piece.text for piece in chunk("a.txt", line)) == line


def headings(path: str, text: str) -> list[tuple[str, int, int]]:
    return [(piece.heading, piece.start_line, piece.end_line) for piece in chunk(path, text)]


BODY = "word " * 60 + "\n"  # 300 characters: not joined to a section of another heading


def test_markdown_is_cut_at_its_headings() -> None:
    text = (
        f"before {BODY}# Guide\n\n## Install\n{BODY}```sh\n# no heading\n```\n{BODY}"
        f"### From source ###\n{BODY}# C#\n{BODY}#hash\n"
    )
    assert headings("a.md", text) == [
        ("", 1, 1),
        ("Guide > Install", 2, 9),
        ("Guide > Install > From source", 10, 11),
        ("C#", 12, 14),
    ]


def test_small_neighbours_become_one_chunk_that_names_both() -> None:
    text = "# Guide\n\nHello.\n\n## Install\n\npip\n\n## Use\n\nrun\n"
    assert headings("a.md", text) == [("Guide > Install, Use", 1, 11)]


def test_a_fence_is_closed_by_its_like_alone() -> None:
    text = f"````\n```\n# in\n~~~~\n````\n# out\n{BODY}"
    assert [h for h, _, _ in headings("a.md", text)] == ["out"]  # the rest is tiny


def test_python_is_cut_at_definitions() -> None:
    body = BODY.strip()
    text = f'''"""{body}"""
import os

# what Pool is for
@frozen
class Pool:
    """{body}"""

    # why
    @property
    def size(self):
        """{body}"""

    limit = "{body}"

async def run():
    """{body}"""
'''
    assert headings("a.py", text) == [
        ("", 1, 2),
        ("class Pool", 4, 7),
        ("class Pool > def size", 9, 12),
        ("class Pool", 14, 14),
        ("def run", 16, 17),
    ]


def test_python_that_does_not_parse_is_cut_all_the_same() -> None:
    text = f"def one():\n    '{BODY.strip()}'\nclass Two:\n    '{BODY.strip()}'\n    def broken(\n"
    assert [h for h, _, _ in headings("a.py", text)] == ["def one", "class Two, def broken"]


@pytest.mark.parametrize(
    ("path", "opening", "name"),
    [
        ("a.ts", "export async function getName(id: string) {", "function getName"),
        ("a.js", "export const load = async (x) => {", "const load"),
        ("a.go", "func (p *Pool) Get(name string) error {", "func (p *Pool) Get"),
        ("a.rs", "pub(crate) async fn open<T>(x: T) {", "fn open"),
        ("a.java", "    public static List<String> names(int n) {", "names"),
        ("a.cpp", "std::vector<int> Pool::get(int n) {", "Pool::get"),
        ("a.rb", "  def self.open(path)", "def self.open"),
        ("a.sh", "build() {", "build"),
        ("a.kt", "override fun close() {", "fun close"),
    ],
)
def test_source_is_cut_at_definitions(path: str, opening: str, name: str) -> None:
    filler = "    call(" + "x, " * 120 + ");"
    comment = "# about it" if path.endswith((".rb", ".sh")) else "// about it"
    text = f"{filler}\n\n{comment}\n{opening}\n{filler}\n"
    assert headings(path, text) == [("", 1, 1), (name, 3, 5)]


def test_text_is_cut_at_blank_lines() -> None:
    paragraphs = ["word " * 100] * 3
    assert headings("a.txt", "\n\n".join(paragraphs)) == [("", 1, 1), ("", 3, 3), ("", 5, 5)]


def test_threads_that_parse_at_once_get_the_same_outline() -> None:
    """CPython 3.11 raises SystemError where a finalizer lets another thread parse (gh-106905)."""

    class Finalized:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            time.sleep(0.0005)

    lines = Path(chunking.__file__).read_text(encoding="utf-8").splitlines()
    expected = python_outline(lines)

    def outlines() -> bool:
        for _ in range(20):
            [Finalized() for _ in range(3)]
            if python_outline(lines) != expected:
                return False
        return True

    before = gc.get_threshold()
    gc.set_threshold(200)
    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(lambda _: outlines(), range(4)))
    finally:
        gc.set_threshold(*before)
