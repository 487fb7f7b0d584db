from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart import Embedder
from hotstart.search.fusion import legibility, moved, reciprocal_rank_fusion, unit_of

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


def test_the_unit_is_the_mean_of_the_ten_best() -> None:
    assert unit_of([3.0, 0.0, 1.0]) == 2.0
    assert unit_of([*range(1, 31)]) == 25.5
    assert unit_of([]) == unit_of([0.0]) == 1.0


def test_feedback_moves_a_query_towards_the_nearest_and_keeps_its_length() -> None:
    query = moved([1.0, 0.0], [[0.0, 1.0], [0.6, 0.8]])
    assert query == pytest.approx([1.09 / math.hypot(1.09, 0.27), 0.27 / math.hypot(1.09, 0.27)])
    assert moved([0.6, 0.8], []) == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("query", "is_read"),
    [
        ("which model is unloaded first?", 1),
        ("TokenStore.get_user_by_id", 1),
        ("FST_ERR_CTP_INVALID_MEDIA_TYPE", 1),
        ("Wie verkaufe ich ein Haus?", 1),
        ("как подключить базу данных", 0),
        ("σύνδεση βάσης δεδομένων", 0),
        ("连接池耗尽怎么办", 0),
        ("ร้านอาหารที่ดีที่สุด", 0),
        ("데이터베이스 연결", 0),
        ("3f2a9c01be", 0),
        ("?", 1),
    ],
)
def test_an_english_model_does_not_read_other_scripts(
    embedder: Embedder, query: str, is_read: float
) -> None:
    embedder.wait_ready()
    coverage = embedder.coverage(query)
    assert coverage is not None
    assert legibility(query, coverage) == is_read
