"""The questions about packages are whole, and are measured right."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from benchmarks.bm25 import PlainBM25
from benchmarks.ndcg import ndcg
from benchmarks.questions import Package, Question, ask, rankings_of, read_packages

PACKAGES = read_packages()
QUESTIONS = [question for package in PACKAGES for question in package.questions]


def test_there_are_enough_questions_packages_and_languages() -> None:
    measured = [package for package in PACKAGES if package.split != "large"]
    languages = {name for package in measured for name in package.language.split(", ")}
    assert sum(len(package.questions) for package in measured) >= 200
    assert len(measured) >= 12
    assert len(languages) >= 6


def test_packages_are_pinned_and_of_one_split() -> None:
    assert len({package.name for package in PACKAGES}) == len(PACKAGES)
    assert {package.split for package in PACKAGES} == {"dev", "test", "large"}
    for package in PACKAGES:
        pin = "@" if package.registry == "npm" else "=="
        assert package.requirement.rpartition(pin)[2][0].isdigit()


def test_each_question_has_a_file_that_answers_it() -> None:
    for question in QUESTIONS:
        assert set(question.files.values()) <= {1, 2}
        assert 2 in question.files.values()
    kinds = {question.kind for question in QUESTIONS}
    assert kinds == {"architecture", "semantic", "symbol", "test", "example", "page", "benchmark"}


def test_ndcg_counts_distinct_names_and_grades() -> None:
    assert ndcg(["a", "b"], {"a": 2, "b": 1}) == 1
    assert ndcg(["c", "c", "a"], {"a": 2}) == pytest.approx(1 / math.log2(3))
    assert ndcg([*map(str, range(10)), "a"], {"a": 2}) == 0


def test_a_package_is_asked(tmp_path: Path) -> None:
    (tmp_path / "cache.py").write_text("def evict(entries):\n    entries.pop(0)\n")
    (tmp_path / "server.py").write_text("def listen(port):\n    bind(port)\n")
    question = Question("symbol", "evict", {"cache.py": 2})
    package = Package("little", "Python", "pypi", "little==1", "dev", [question])
    (answered,) = ask(package, tmp_path, {"lexical": rankings_of(tmp_path, None, 0)["lexical"]})
    assert answered.rankings == {"lexical": ["cache.py"]}
    assert answered.gain("lexical") == 1


def test_a_file_that_the_package_lacks_is_noticed(tmp_path: Path) -> None:
    package = Package(
        "little", "Python", "pypi", "little==1", "dev", [Question("page", "x", {"gone.md": 2})]
    )
    with pytest.raises(AssertionError, match=r"little==1 has no \['gone\.md'\]"):
        list(ask(package, tmp_path, {}))


@pytest.mark.parity
def test_plain_bm25_ranks_texts_that_hold_a_word() -> None:
    plain = PlainBM25(["the cache evicts entries", "a server listens", "an entry of the cache"])
    assert plain.best("which entries are evicted from the cache", 10) == [0, 2]
