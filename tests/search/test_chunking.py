from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotstart.search import grammars
from hotstart.search.chunking import LIMIT, Chunk, chunk, rules_for

NAMES = ["a.md", "a.py", "a.txt", "a.ts", "a.java", "a.c", "a.rs", "a.rb", "a.go", "a.sh", "a"]
NAMES += ["a.rst", "a.pdf", "a.html", "a.dart", "a.json", "a.hs", "a.sql"]
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
    "A title",
    "=======",
    "---",
    "title: Front",
    "One ends. Two begins! " * 40,
    "汉字，" * 300 + "。",
    "é" * 30,
]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.sampled_from(SNIPPETS), st.text(max_size=40)), max_size=40).flatmap(
        lambda lines: st.sampled_from(["\n", "\r\n", "\r"]).map(lambda end: end.join(lines))
    ),
)


def check_cover(text: str, chunks: list[Chunk]) -> None:
    """Assert that `chunks` are `text` in order, but for space between them, with true lines."""
    text = re.sub(r"\r\n|\r", "\n", text)
    place = 0
    for piece in chunks:
        assert piece.text.strip()
        assert len(piece.text) <= LIMIT
        start = text.index(piece.text, place)
        assert not text[place:start].strip()
        assert piece.start_line == text.count("\n", 0, start) + 1
        assert piece.end_line == piece.start_line + piece.text.count("\n")
        if start and place == start:  # cut within a line, without a space
            word = re.compile(r"\w*").match(text, start)
            assert word is not None
            before = re.search(r"\w*$", text[max(0, start - LIMIT) : start])
            assert before is not None
            assert not (before[0] and word[0]) or len(before[0] + word[0]) > LIMIT
        place = start + len(piece.text)
    assert not text[place:].strip()


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(NAMES), text=TEXTS)
@example(path="a.py", text="\ud800")
@example(path="a.py", text="x = " + "(" * 5000)
@example(path="a.py", text="x = 1" + " + 1" * 20000)
@example(path="a.py", text="a\0b")
@example(path="a.txt", text=" " * 3000 + "x")
def test_chunks_cover_the_text_in_order_and_in_bounds(path: str, text: str) -> None:
    check_cover(text, chunk(path, text))


ROOT = Path(__file__).parents[2]
OUTLINES = sorted((ROOT / "tests" / "data" / "outlines").glob("*.*.txt"))
REAL = [*ROOT.glob("docs/*.md"), *ROOT.glob("src/hotstart/**/*.py"), *ROOT.glob("src/**/*.js")]


@pytest.mark.parametrize("path", [*OUTLINES, ROOT / "CHANGELOG.md", ROOT / "src"])
def test_chunks_cover_real_files(path: Path) -> None:
    for file in REAL if path.is_dir() else [path]:
        text = file.read_text(encoding="utf-8")
        chunks = chunk(file.name.removesuffix(".txt"), text)
        check_cover(text, chunks)
        if file in OUTLINES:
            check_cover(text * 20, chunk(file.name.removesuffix(".txt"), text * 20))


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
    body = "word " * 120
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
    assert [h for h, _, _ in headings("a.py", text)] == ["def one", "class Two"]


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
    filler = "    call" + " x" * 120 if path.endswith(".sh") else f"    call({'x, ' * 120}x);"
    comment = "# about it" if path.endswith((".rb", ".sh")) else "// about it"
    closing = "end" if path.endswith(".rb") else "}"
    text = f"{filler}\n\n{comment}\n{opening}\n{filler}\n{closing}\n"
    assert headings(path, text) == [("", 1, 1), (name, 3, 6)]


def test_text_is_cut_at_blank_lines() -> None:
    paragraphs = ["word " * 100] * 3
    assert headings("a.txt", "\n\n".join(paragraphs)) == [("", 1, 1), ("", 3, 3), ("", 5, 5)]


def parts(path: str, text: str) -> list[str]:
    return [piece.text for piece in chunk(path, text)]


def test_a_title_stays_with_a_paragraph_of_one_line() -> None:
    sentence = "Statins lower cholesterol, and cholesterol is not all. "
    text = f"# Statin Use\n\n{(sentence * 60).strip()}\n"
    first, *others = chunk("a.md", text)
    assert first.text.startswith("# Statin Use\n\nStatins lower")
    assert (first.start_line, first.end_line) == (1, 3)
    assert [(one.heading, one.start_line, one.end_line) for one in others] == [
        ("Statin Use", 3, 3)
    ] * len(others)
    assert {one.text[-4:] for one in chunk("a.md", text)} == {"all."}
    assert {one.text[:7] for one in others} == {"Statins"}


@pytest.mark.parametrize(
    "text",
    [
        f"# Empty\n\n# Full\n\n{BODY * 3}",
        f"{BODY * 3}\n# Last\n",
        f"Empty\n=====\n\nFull\n====\n\n{BODY * 3}",
        f"---\ntitle: Front\n---\n\n# Full\n\n{BODY * 3}",
    ],
)
@pytest.mark.parametrize("path", ["a.md", "a.rst"])
def test_no_chunk_is_a_title_alone(path: str, text: str) -> None:
    assert len(chunk(path, text)) == 1


def test_prose_is_cut_where_a_paragraph_a_sentence_or_an_item_ends() -> None:
    sentence = "a lot of words that go on and on, e.g. so\nuntil they end. "
    assert {part[-4:] for part in parts("a.txt", f"See {sentence}" * 60 + "It end.")} == {"end."}
    items = "- a point without a full stop\n" * 100
    assert {part.split("\n")[-1] for part in parts("a.md", items)} == {items[:29]}
    assert {part[-1] for part in parts("a.txt", "这是一句很长的话，还没有说完。" * 200)} == {"。"}


def test_a_long_function_is_cut_between_statements_below_its_signature() -> None:
    statement = "    if ready:\n        call(\n            1,\n        )\n"
    text = f"class Pool:\n    size = 1\n\ndef get(\n    name,\n) -> None:\n{statement * 60}"
    first, *others = chunk("a.py", text)[1:]
    assert first.heading == "def get"
    assert {one.heading for one in others} == {"def get( name, ) -> None:"}
    assert {one.text.split("\n")[0] for one in others} == {"    if ready:"}


def test_a_file_without_a_grammar_is_cut_at_the_least_indented_lines() -> None:
    text = "servers:\n" + "  - name: one\n    ports:\n      - 80\n      - 443\n" * 60
    assert {part.split("\n")[0] for part in parts("a.yaml", text)[1:]} == {"  - name: one"}


def test_a_small_class_is_one_chunk_and_a_large_one_has_its_methods() -> None:
    method = "    def {}(self):\n        return {}\n\n"
    small = "class Pool:\n" + "".join(method.format(f"m{n}", n) for n in range(9))
    assert headings("a.py", small) == [("class Pool", 1, 27)]
    large = "class Pool:\n" + "".join(method.format(f"m{n}", "x" * 500) for n in range(3))
    assert [heading for heading, _, _ in headings("a.py", large)] == [
        "class Pool > def m0",
        "class Pool > def m1",
        "class Pool > def m2",
    ]


def test_names_are_in_the_chunk_that_defines_them() -> None:
    text = f"LIMIT = 1\n\n\ndef one():\n    '{'x ' * 700}'\n\n\ndef two():\n    '{BODY.strip()}'\n"
    assert [piece.names for piece in chunk("a.py", text)] == [("LIMIT",), ("one",), (), ("two",)]


def test_rules_are_better_with_a_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    with_grammar = rules_for("a.py")
    assert rules_for("a.md") == rules_for("a") < with_grammar
    monkeypatch.setattr(grammars, "has_grammar", lambda path: False)
    assert rules_for("a.py") < with_grammar
