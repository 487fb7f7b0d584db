from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.ranking import (
    MOST_CANDIDATES,
    Candidate,
    FileGroup,
    Ranked,
    by_reranker,
    grouped,
    rank_candidates,
    with_activation,
)
from hotstart.search.store import Passage

IDS = count(1)


def candidate(
    path: str, score: float = 1.0, *, text: str = "words", defines: bool = False
) -> Candidate:
    return Candidate(Passage(next(IDS), path, "", 1, 1, text), score, defines)


def paths(query: str, *candidates: Candidate) -> list[str]:
    return [each.passage.path for each in rank_candidates(query, candidates)]


def test_sources_stand_before_tests_unless_the_query_asks_for_tests() -> None:
    candidates = (candidate("tests/test_pool.py", 1.2), candidate("src/pool.py", 1.0))
    assert paths("evict models", *candidates)[0] == "src/pool.py"
    assert paths("evict models test", *candidates)[0] == "tests/test_pool.py"


@pytest.mark.parametrize(
    ("path", "penalties"),
    [
        ("tests/test_pool.py", {"test"}),
        ("lib/pool.test.ts", {"test"}),
        ("pkg/pool_test.go", {"test"}),
        ("src/PoolTest.java", {"test"}),
        ("spec/pool_spec.rb", {"test"}),
        ("examples/pool.py", {"example"}),
        ("vendor/lib/pool.c", {"example"}),
        ("dist/pool.min.js", {"example"}),
        ("api/pool_pb2.py", {"example"}),
        ("README.md", {"document"}),
        ("docs/pool.rst", {"example"}),
        ("package-lock.json", {"document"}),
        ("src/pool.py", set()),
        ("include/pool.h", {"declaration"}),
        ("types/pool.d.ts", {"declaration"}),
        ("src/latest.py", set()),
        ("src/contest/document.go", set()),
        ("src/attestation.java", set()),
    ],
)
def test_penalties_are_told_by_the_path(path: str, penalties: set[str]) -> None:
    others = [candidate(f"src/{n}.py") for n in range(9)]
    ranked = rank_candidates("evict models", [candidate(path), *others])
    (found,) = [each for each in ranked if each.passage.path == path]
    assert {name for name, value in found.parts.items() if value < 0} == penalties


def test_a_penalty_for_nearly_all_is_none() -> None:
    tests = [candidate(f"tests/{n}.py") for n in range(9)]
    ranked = rank_candidates("evict models", [*tests, candidate("src/pool.py")])
    assert not any("test" in each.parts for each in ranked)


def test_names_of_files_and_folders_count() -> None:
    words = [candidate("b/other.py"), candidate("pool/c.py"), candidate("a/pools.py")]
    ranked = {each.passage.path: each.parts for each in rank_candidates("pool eviction", words)}
    shares = {path: parts["path"] for path, parts in ranked.items()}
    assert shares == {"b/other.py": 0.0, "pool/c.py": 0.25, "a/pools.py": 0.5}


def test_a_definition_stands_before_its_uses() -> None:
    uses = [candidate(f"src/{n}.py", 2.0) for n in range(5)]
    found = paths("TokenStore", *uses, candidate("src/tokens.py", 1.0, defines=True))
    assert found[0] == "src/tokens.py"
    named_so = candidate("src/token_store.py", 1.0, defines=True)
    assert paths("TokenStore", candidate("src/tokens.py", 1.0, defines=True), named_so)[0] == (
        "src/token_store.py"
    )


def test_a_definition_outside_of_tests_counts_not_for_who_looks_for_tests() -> None:
    source = candidate("src/tokens.py", 1.0, defines=True)
    test = candidate("tests/test_tokens.py", 1.0)
    assert paths("tests of token_store", source, test)[0] == "tests/test_tokens.py"
    assert paths("token_store", source, test)[0] == "src/tokens.py"


def test_a_file_with_many_good_chunks_stands_before_one_with_a_single_one() -> None:
    many = [candidate("many.py", 1.0) for _ in range(3)]
    assert paths("evict", candidate("one.py", 1.1), *many)[0] == "many.py"


@given(st.lists(st.floats(0, 50), max_size=300))
def test_every_candidate_is_ranked_once_by_the_sum_of_its_parts(scores: list[float]) -> None:
    candidates = [candidate(f"{n}.py", score) for n, score in enumerate(sorted(scores)[::-1])]
    ranked = rank_candidates("some query", candidates)
    assert {each.passage.id for each in ranked} == {each.passage.id for each in candidates}
    assert len(ranked) == len(candidates)
    sums = [each.score for each in ranked]
    assert sums == sorted(sums, reverse=True)
    below = [each.passage.id for each in candidates[MOST_CANDIDATES:]]
    assert [each.passage.id for each in ranked[MOST_CANDIDATES:]] == below


def ranked(path: str, text: str) -> Ranked:
    return Ranked(Passage(next(IDS), path, "", 1, 1, text), 1.0, {"words": 1.0}, {})


def test_a_file_is_one_group_and_a_copy_joins_it() -> None:
    text = " ".join(f"word{n}" for n in range(20))
    chunks = [
        ranked("notes.md", text),
        ranked("other.md", "something else"),
        ranked("notes.md", "a second place"),
        ranked("notes_copy.md", f"{text} more"),
        ranked("notes_copy.md", "its second place"),
        ranked("third.md", "something else"),  # too short to be called a copy
        ranked("fourth.md", "beyond the limit"),
        ranked("other.md", "its second place"),
    ]
    texts = {each.passage.id: each.passage.text for each in chunks}
    groups = grouped(chunks, 3, texts)
    assert [group.best.passage.path for group in groups] == ["notes.md", "other.md", "third.md"]
    others = [other.passage.path for other in groups[0].others]
    assert others == ["notes.md", "notes_copy.md", "notes_copy.md"]
    assert [len(group.others) for group in groups] == [3, 1, 0]


def test_a_reranker_orders_groups_and_the_scores_stay_sorted_sums() -> None:
    groups = [
        FileGroup(ranked(name, "")._replace(score=n, own={"words": n}), [])
        for name, n in (("a", 3.0), ("b", 2.0), ("c", 1.0))
    ]
    found = [group.best for group in by_reranker(groups, {0: -4.0, 1: 5.0, 2: 5.0})]
    assert [(each.passage.path, each.score) for each in found] == [
        ("b", 3.0),
        ("c", 2.0),
        ("a", 1.0),
    ]
    assert [each.parts["reranker"] for each in found] == [1.0, 1.0, -2.0]
    assert all(sum(each.parts.values()) == each.score for each in found)


def test_activation_decides_among_equals_and_not_against_the_clearly_better() -> None:
    def ranked(path: str, score: float) -> Ranked:
        return Ranked(candidate(path).passage, score, {"words": score}, {})

    equal = [ranked("a.py", 2.0), ranked("b.py", 1.9)]
    assert [each.passage.path for each in with_activation(equal, {"b.py": 0.9})] == ["b.py", "a.py"]
    better = [ranked("a.py", 2.0), ranked("b.py", 1.0)]
    assert with_activation(better, {"b.py": 0.9})[0] == better[0]
    assert with_activation(better, {}) == better
    assert with_activation([], {"b.py": 0.9}) == []
    # Reciprocal ranks are small, and so is what is added to them.
    small = [ranked("a.py", 0.033), ranked("b.py", 0.016)]
    assert with_activation(small, {"b.py": 0.9})[0] == small[0]
