from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.index import reciprocal_rank_fusion

RANKINGS = st.lists(st.lists(st.integers(1, 30), unique=True), max_size=4)


def test_the_scores_are_those_of_the_paper() -> None:
    fused = reciprocal_rank_fusion([[7, 8], [8, 9]])
    assert [identifier for identifier, _ in fused] == [8, 7, 9]
    expected = [1 / 62 + 1 / 61, 1 / 61, 1 / 62]
    assert [score for _, score in fused] == pytest.approx(expected)


@given(RANKINGS, st.randoms())
def test_the_order_of_the_rankings_does_not_matter(
    rankings: list[list[int]], random: Random
) -> None:
    shuffled = list(rankings)
    random.shuffle(shuffled)
    assert reciprocal_rank_fusion(shuffled) == reciprocal_rank_fusion(rankings)


@given(RANKINGS)
def test_every_id_is_ranked_once_best_first(rankings: list[list[int]]) -> None:
    fused = reciprocal_rank_fusion(rankings)
    assert sorted(i for i, _ in fused) == sorted({i for ranking in rankings for i in ranking})
    assert fused == sorted(fused, key=lambda scored: (-scored[1], scored[0]))


@given(st.lists(st.integers(), unique=True))
def test_one_ranking_stays_as_it_is(ranking: list[int]) -> None:
    assert [i for i, _ in reciprocal_rank_fusion([ranking])] == ranking


def test_a_repeated_id_counts_by_its_best_rank() -> None:
    assert reciprocal_rank_fusion([[1, 1, 2]]) == reciprocal_rank_fusion([[1, 2]])
