from __future__ import annotations

import pytest

from hotstart.errors import InvalidInput
from hotstart.pool.strategies import STRATEGIES, choose, requested_name, strategy_named
from hotstart.types import LoadingStrategy


def test_the_strategies_are_those_of_the_design() -> None:
    assert {name: (s.starts, s.stages, s.precision) for name, s in STRATEGIES.items()} == {
        "lazy": ("at first use", ("fast_start", "full"), "float32"),
        "background": ("at once", ("full",), "float32"),
        "progressive": ("at once", ("fast_start", "full", "throughput"), "float32"),
        "quantized": ("at first use", ("full",), "int8"),
        "cached": ("at once", ("full",), "float32"),
        "eager": ("in the constructor", ("full",), "float32"),
    }
    assert [name for name, s in STRATEGIES.items() if s.prepared_only] == ["cached"]
    assert {strategy.value for strategy in LoadingStrategy} == {*STRATEGIES, "auto"}


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match=r"one of lazy, background.*, got 'soon'"):
        strategy_named("soon")


@pytest.mark.parametrize(
    ("given", "configured", "name"),
    [
        (None, None, "lazy"),
        (None, "eager", "eager"),
        ("cached", "eager", "cached"),
        (LoadingStrategy.PROGRESSIVE, None, "progressive"),
    ],
)
def test_what_is_given_goes_before_what_is_configured(
    given: str | None, configured: str | None, name: str
) -> None:
    assert choose(requested_name(given, configured)) == (name, name)


def test_auto_says_why() -> None:
    choice = choose("auto")
    assert choice.name in STRATEGIES
    assert choice.description.startswith(f"{choice.name} (auto: ")


def test_a_name_that_is_none_is_refused_wherever_it_comes_from() -> None:
    with pytest.raises(InvalidInput):
        choose(requested_name(None, "soon"))
