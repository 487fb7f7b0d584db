"""The query language, regular expressions and misspelt words, in answers of an index."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.search import Answer, SearchIndex

Plant = Callable[[Mapping[str, str]], str]

FILES = {
    "guide.md": "# Pool\n\nThe connection pool was exhausted by every request.\n",
    "notes/backup.md": "# Backup\n\nHow to make a backup of the pool.\n",
    "notes/nightly.md": "# Nightly\n\nA backup runs nightly.\n",
    "src/pool.py": "class Pool:\n    def close(self):\n        pass\n\n\ndef open_pool(): ...\n",
    "src/pool.go": "package pool\n\nfunc OpenPool() {}\n",
    "zh.md": "这个连接池已经满了\n",
}


@pytest.fixture
def index(plant: Plant) -> SearchIndex:
    index = SearchIndex(plant(FILES))
    index.update()
    return index


def paths(answer: Answer) -> list[str]:
    return [hit.path for hit in answer.hits]


def test_a_phrase_is_exact_words_in_order(index: SearchIndex) -> None:
    assert paths(index.search('"connection pool"')) == ["guide.md"]
    assert paths(index.search('"POOL WAS exhausted" backup')) == ["guide.md"]
    assert paths(index.search('"连接池"')) == ["zh.md"]
    assert (
        paths(index.search('"pools"'))[0] in FILES
    )  # not a word of any file: searched all the same
    assert paths(index.search('"backup"', top_k=9)) == ["notes/backup.md", "notes/nightly.md"]


def test_a_phrase_that_no_file_holds_is_searched_by_its_words(index: SearchIndex) -> None:
    answer = index.search('"pool connection"')
    assert paths(answer)[0] == "guide.md"
    assert answer.reason
    assert 'no file holds "pool connection": its words were searched' in answer.reason


def test_all_phrases_must_be_in_a_file(plant: Plant) -> None:
    long = "\n\n".join(f"Some words of paragraph {n} that fill a chunk. " * 9 for n in range(9))
    index = SearchIndex(
        plant({"both.md": f"red fox\n\n{long}\n\nblue whale\n", "one.md": "red fox, whale\n"})
    )
    index.update()
    assert paths(index.search('"red fox" "blue whale"')) == ["both.md"]


def test_excluded_words_leave_out_their_files(index: SearchIndex) -> None:
    assert set(paths(index.search("backup"))) == {"notes/backup.md", "notes/nightly.md"}
    answer = index.search("backup -nightly")
    assert paths(answer) == ["notes/backup.md"]
    assert answer.reason
    assert "without files that hold 'nightly'" in answer.reason
    assert paths(index.search('backup -"of the pool"')) == ["notes/nightly.md"]
    assert paths(index.search('backup -"the of pool"')) == paths(index.search("backup"))


def test_filters_of_path_and_language(index: SearchIndex) -> None:
    assert set(paths(index.search("pool lang:python"))) == {"src/pool.py"}
    assert set(paths(index.search("pool path:src"))) == {"src/pool.py", "src/pool.go"}
    assert paths(index.search("pool path:src -lang:go")) == ["src/pool.py"]
    assert set(paths(index.search("pool path:*.md -path:notes"))) == {"guide.md"}
    answer = index.search("pool path:absent")
    assert answer.hits == ()
    assert answer.reason
    assert "no indexed file passes the filters" in answer.reason


def test_filters_come_before_the_limit(plant: Plant, embedder: Embedder) -> None:
    files = {f"many/{n}.md": f"kitten kitten kitten number {n}\n" for n in range(300)}
    root = plant({**files, "rare/far.md": "one kitten among many other words of a long page\n"})
    index = SearchIndex(root, embedder)
    index.update()
    for query in ("kitten path:rare", "kitten -number", 'kitten "long page"'):
        for answer in (index.search(query, top_k=1), SearchIndex(root).search(query, top_k=1)):
            assert paths(answer) == ["rare/far.md"]
    (hit,) = index.search("feline path:rare", top_k=1).hits  # by its vector alone
    assert (hit.path, hit.found_by) == ("rare/far.md", ("semantic",))
    assert len(index.search("feline path:many", top_k=20).hits) == 20


def test_a_regular_expression_finds_lines(index: SearchIndex) -> None:
    answer = index.search(regex=r"^(def|func) \w+")
    assert set(paths(answer)) == {"src/pool.py", "src/pool.go"}
    places = {hit.path: (hit.start_line, hit.end_line, hit.text) for hit in answer.hits}
    assert places["src/pool.py"] == (6, 6, "def open_pool(): ...")
    assert places["src/pool.go"] == (3, 3, "func OpenPool() {}")
    assert answer.mode == "lexical"
    assert index.search(regex="absent").hits == ()


def test_matches_are_where_the_file_has_them(plant: Plant) -> None:
    sections = [
        f"# Section {n}\n\n" + "Filling words of a line.\n" * (n % 7 + 9) for n in range(30)
    ]
    text = "\n".join(sections)
    index = SearchIndex(plant({"long.md": text, "other.md": "Section 1\n"}))
    index.update()
    expected = [n for n, line in enumerate(text.split("\n"), 1) if re.search(r"Section \d", line)]
    (hit, other) = sorted(index.search(regex=r"Section \d").hits, key=lambda hit: hit.path)
    lines = [hit.start_line, *(place.start_line for place in hit.others)]
    assert set(lines) <= set(expected)
    assert len(lines) == len(set(lines)) == 11
    assert other.start_line == 1


def test_each_file_with_a_match_is_a_hit(plant: Plant) -> None:
    text = "def one(): return 'the same text in two files, word by word, to the end'\n"
    index = SearchIndex(plant({"a.py": text, "b.py": text}))
    index.update()
    assert len(index.search("one").hits) == 1
    hits = index.search(regex="one|two").hits
    assert [(hit.path, hit.score) for hit in hits] == [("a.py", 1.0), ("b.py", 1.0)]


def test_a_query_filters_and_orders_matches(index: SearchIndex) -> None:
    assert paths(index.search("lang:go", regex="[Pp]ool")) == ["src/pool.go"]
    assert paths(index.search("connection", regex="pool"))[0] == "guide.md"
    assert paths(index.search("-backup", regex="pool", top_k=9)).count("notes/backup.md") == 0


def test_an_expression_that_cannot_be_compiled_is_refused(index: SearchIndex) -> None:
    with pytest.raises(InvalidInput, match="regex must be a regular expression of RE2"):
        index.search(regex="(")
    with pytest.raises(InvalidInput, match="regex must be"):
        index.search(regex="")


@pytest.mark.parametrize(
    ("query", "word", "other"),
    [
        ("exhasted", "exhasted", "exhausted"),
        ("connectoin", "connectoin", "connection"),
        ("ecxhausted", "ecxhausted", "exhausted"),
        ("nightlyy", "nightlyy", "nightly"),
        ("exhaustde requests", "exhaustde", "exhausted"),
        ("OpnePool", "opnepool", "OpenPool"),
    ],
)
def test_one_typo_is_tolerated_and_said(
    index: SearchIndex, query: str, word: str, other: str
) -> None:
    answer = index.search(query)
    assert answer.hits
    assert answer.reason
    assert f"no {word!r}: searched {other!r}" in answer.reason


@pytest.mark.parametrize(
    "query", ["exhausted", "request", "requests", "pool", "poo", "absent", "p00l", "qool", "2027"]
)
def test_words_that_are_there_or_short_or_far_are_not_changed(
    index: SearchIndex, query: str
) -> None:
    reason = index.search(query).reason or ""
    assert ("searched" in reason) == (query == "qool")


def test_a_long_query_says_what_is_left_out(index: SearchIndex) -> None:
    answer = index.search(" ".join(f"pool{n}" for n in range(200)))
    assert answer.reason
    assert "only the first 128 of" in answer.reason


def test_a_pasted_text_is_not_filtered(index: SearchIndex) -> None:
    pasted = (
        'Traceback:\n  File "src/pool.py", line 2\n  -nightly "no such phrase" path:absent\npool'
    )
    assert paths(index.search(pasted))


def test_a_match_beside_words_scores_their_share(plant: Plant) -> None:
    index = SearchIndex(plant({"a.txt": "class FilePool waits", "b.txt": "class ThreadPool runs"}))
    index.update()
    hits = index.search("waits", regex=r"class \w+Pool").hits
    assert {hit.path: hit.score for hit in hits} == {"a.txt": 1.0, "b.txt": 0.0}
    assert {hit.score for hit in index.search(regex=r"class \w+Pool").hits} == {1.0}
