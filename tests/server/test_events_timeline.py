"""Each load by stage."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hotstart.registry.events import LoadStep, StateChange
from hotstart.server.events import Timeline

ENTRY: Any = None


def change(status: Any, at: float, name: str = "m") -> StateChange:
    return StateChange(name, "1", status, "", ENTRY, at)


def step(stage: str, at: float, name: str = "m") -> LoadStep:
    return LoadStep(name, "1", stage, 0.5, at)


def test_timeline_records_each_stage() -> None:
    timeline = Timeline()
    timeline.change(change("loading", 10.0))
    assert timeline.step(step("metadata", 10.0)) == 0.0
    assert timeline.step(step("metadata", 10.1)) > 0.09
    timeline.step(step("fast_start", 10.5))
    assert timeline.of("m")[-1]["end"] is None
    assert [each["stage"] for each in timeline.under_way()] == ["fast_start"]
    timeline.change(change("ready", 11.0))
    assert timeline.of("m") == [
        {"version": "1", "stage": "metadata", "start": 0.0, "end": 0.5},
        {"version": "1", "stage": "fast_start", "start": 0.5, "end": 1.0},
    ]
    assert timeline.under_way() == []
    assert timeline.of("other") == []


def test_next_load_resets_timeline() -> None:
    timeline = Timeline()
    timeline.change(change("loading", 10.0))
    timeline.step(step("metadata", 10.0))
    timeline.change(change("failed", 11.0))
    timeline.change(change("loading", 20.0))
    timeline.step(step("metadata", 20.5))
    assert [(each["start"], each["end"]) for each in timeline.of("m")] == [(0.5, None)]


def test_change_of_model_never_loaded_is_ignored() -> None:
    timeline = Timeline()
    timeline.change(change("unloaded", 1.0))
    assert timeline.of("m") == []


events = st.lists(
    st.tuples(st.sampled_from(["loading", "ready", "failed", "a", "b", "c"]), st.floats(0, 5)),
    max_size=30,
)


@given(events)
def test_stages_are_contiguous(told: list[tuple[str, float]]) -> None:
    timeline, now = Timeline(), 0.0
    for what, later in told:
        now += later
        if what in {"loading", "ready", "failed"}:
            timeline.change(change(what, now))
        else:
            timeline.step(step(what, now))
        stages = timeline.of("m")
        assert all(stage["end"] is not None for stage in stages[:-1])
        for earlier, later_stage in itertools.pairwise(stages):
            assert earlier["end"] <= later_stage["start"]
