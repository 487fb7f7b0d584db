from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hotstart.registry.routing import choose

WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(0, 100), min_size=1).filter(
    lambda weights: any(weight > 0 for weight in weights.values())
)


@given(WEIGHTS, st.text(), st.one_of(st.none(), st.text()))
def test_a_version_that_has_weight_is_chosen(
    weights: dict[str, float], model: str, key: str | None
) -> None:
    assert weights[choose(weights, model, key)] > 0


@given(WEIGHTS, st.text(), st.text())
def test_a_key_stays_with_its_version(weights: dict[str, float], model: str, key: str) -> None:
    backwards = dict(reversed(weights.items()))
    assert choose(weights, model, key) == choose(backwards, model, key)


@given(WEIGHTS, st.text(), st.text(), st.floats(0.1, 10))
def test_a_key_leaves_its_version_only_for_one_that_gains(
    weights: dict[str, float], model: str, key: str, factor: float
) -> None:
    gaining = min(weights)
    more = weights | {gaining: weights[gaining] * (1 + factor)}
    assert choose(more, model, key) in {choose(weights, model, key), gaining}


def test_each_gets_its_share_of_the_keys() -> None:
    weights = {"v1": 90.0, "v2": 9.0, "v3": 1.0}
    counts = Counter(choose(weights, "churn", f"user {n}") for n in range(20_000))
    assert abs(counts["v1"] / 20_000 - 0.90) < 0.01
    assert abs(counts["v2"] / 20_000 - 0.09) < 0.01
    assert abs(counts["v3"] / 20_000 - 0.01) < 0.004


def test_models_share_no_keys_fate() -> None:
    weights = {"v1": 1.0, "v2": 1.0}
    same = sum(choose(weights, "a", str(n)) == choose(weights, "b", str(n)) for n in range(2000))
    assert 850 < same < 1150


def test_without_a_key_it_is_random_by_weight() -> None:
    counts = Counter(choose({"v1": 3, "v2": 1}, "m", None) for _ in range(4000))
    assert 2800 < counts["v1"] < 3200
