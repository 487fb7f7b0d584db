from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.search.activation import (
    MOST_EXACT,
    UseHistory,
    activations,
    base_level,
    recall_probability,
    with_use,
)

DAY = 86_400.0
NOW = 1_800_000_000.0


def history(*ages: float) -> UseHistory:
    """Return the uses of these ages in seconds."""
    uses: UseHistory | None = None
    for age in sorted(ages, reverse=True):
        uses = with_use(uses, NOW - age)
    assert uses is not None
    return uses


def test_the_base_level_is_the_equation_of_act_r() -> None:
    assert base_level(history(100.0), NOW) == pytest.approx(math.log(0.1))
    both = base_level(history(100.0, 400.0), NOW)
    assert both == pytest.approx(math.log(0.1 + 0.05))


def test_a_use_of_this_moment_or_of_a_clock_that_runs_ahead_is_50_ms_old() -> None:
    floor = math.log(0.05**-0.5)
    assert base_level(history(0.0), NOW) == pytest.approx(floor)
    assert base_level(history(-3600.0), NOW) == pytest.approx(floor)


@given(st.lists(st.floats(60, 90 * DAY), min_size=MOST_EXACT + 1, max_size=200))
def test_earlier_uses_are_approximated(ages: list[float]) -> None:
    uses = history(*ages)
    assert (len(uses.latest), uses.number) == (MOST_EXACT, len(ages))
    exact = math.log(math.fsum(age**-0.5 for age in ages))
    latest = math.log(math.fsum(age**-0.5 for age in sorted(ages)[:MOST_EXACT]))
    # The latest uses bound it from below, and no earlier use is younger than they are.
    oldest = sorted(ages)[MOST_EXACT - 1]
    most = math.exp(latest) + (len(ages) - MOST_EXACT) * oldest**-0.5
    assert latest <= base_level(uses, NOW) <= math.log(most) + 1e-9
    assert base_level(uses, NOW) == pytest.approx(exact, abs=0.7)


def test_evenly_spread_uses_are_approximated_closely() -> None:
    ages = [hour * 3600.0 for hour in range(1, 500)]
    exact = math.log(math.fsum(age**-0.5 for age in ages))
    assert base_level(history(*ages), NOW) == pytest.approx(exact, abs=0.01)


def test_the_order_of_recording_makes_no_difference() -> None:
    uses = with_use(with_use(with_use(None, NOW - 5), NOW - 50), NOW - 1)
    assert uses == UseHistory((NOW - 1, NOW - 5, NOW - 50), 3, NOW - 50)


def test_recall_falls_from_certain_to_never() -> None:
    now, day, year = (recall_probability(-0.5 * math.log(age)) for age in (1, DAY, 365 * DAY))
    assert now > 0.99
    assert 0.1 < day < 0.5
    assert year < 0.01


def test_a_folder_without_history_has_no_activation() -> None:
    assert activations({}, [("a", "b")], NOW) == {}


def test_a_use_spreads_to_linked_files_the_less_the_more_there_are() -> None:
    uses = {"a": history(60.0)}
    one = activations(uses, [("a", "b")], NOW)
    many = activations(uses, [("a", "b"), ("c", "a"), ("d", "a")], NOW)
    assert one["a"] > one["b"] > many["b"] > 0
    assert many["b"] == many["c"]
    assert one["a"] == many["a"]
    assert "e" not in many
