from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hotstart.registry.model import choose, draw

WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(0, 100), min_size=1).filter(
    lambda weights: any(weight > 0 for weight in weights.values())
)


@given(WEIGHTS, st.text(), st.text())
def test_choose_returns_version_with_weight(
    weights: dict[str, float], model: str, key: str
) -> None:
    assert weights[choose(weights, model, key)] > 0


@given(WEIGHTS, st.text(), st.text())
def test_key_keeps_its_version(weights: dict[str, float], model: str, key: str) -> None:
    backwards = dict(reversed(weights.items()))
    assert choose(weights, model, key) == choose(backwards, model, key)


@given(WEIGHTS, st.text(), st.text(), st.floats(0.1, 10))
def test_key_changes_only_to_version_that_gains_weight(
    weights: dict[str, float], model: str, key: str, factor: float
) -> None:
    gaining = min(weights)
    more = weights | {gaining: weights[gaining] * (1 + factor)}
    assert choose(more, model, key) in {choose(weights, model, key), gaining}


def test_keys_are_shared_by_weight() -> None:
    weights = {"v1": 90.0, "v2": 9.0, "v3": 1.0}
    counts = Counter(choose(weights, "churn", f"user {n}") for n in range(20_000))
    assert abs(counts["v1"] / 20_000 - 0.90) < 0.01
    assert abs(counts["v2"] / 20_000 - 0.09) < 0.01
    assert abs(counts["v3"] / 20_000 - 0.01) < 0.004


def test_models_hash_keys_independently() -> None:
    weights = {"v1": 1.0, "v2": 1.0}
    same = sum(choose(weights, "a", str(n)) == choose(weights, "b", str(n)) for n in range(2000))
    assert 850 < same < 1150


@given(st.lists(st.floats(0.01, 100), min_size=1), st.floats(0, 1))
def test_draw_returns_position_of_share(weights: list[float], share: float) -> None:
    cumulative = list(itertools.accumulate(weights))
    place = draw(cumulative, share)
    assert cumulative[place] >= share * cumulative[-1] or place == len(weights) - 1
    assert place == 0 or cumulative[place - 1] <= share * cumulative[-1]


def test_draws_are_distributed_by_weight() -> None:
    counts = Counter(draw([3.0, 4.0], n / 4000) for n in range(4000))
    assert counts == {0: 3000, 1: 1000}
