from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from hotstart import ModelRegistry
from hotstart.registry import shadow as shadowing
from hotstart.telemetry import HistogramSnapshot
from registry.conftest import Make


@pytest.fixture(autouse=True)
def _idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "_IDLE", 0.05)


def shadowed(make: Make, shadow: str) -> ModelRegistry:
    sources = {"one": "registry.versions:one", "shadow": shadow}
    registry = make(m={"kind": "custom", "versions": sources, "version": "one", "shadow": "shadow"})
    registry.load_all()
    return registry


def metrics(registry: ModelRegistry) -> dict[str, Any]:
    return {f.name: f.value for f in registry.metrics() if f.labels["version"] == "shadow"}


def test_shadow_repeats_calls_and_compares_answers(make: Make) -> None:
    registry = shadowed(make, "registry.versions:two")
    for number in range(10):
        assert registry.predict("m", number) == (number + 1, "m", "one", None)
    registry._shadows.settle()
    counted = metrics(registry)
    assert counted["hotstart_model_shadow_calls_total"] == 10
    assert counted["hotstart_model_calls_total"] == 0
    differences = counted["hotstart_model_shadow_difference"]
    assert isinstance(differences, HistogramSnapshot)
    assert (differences.total, differences.sum) == (10, 10.0)


def test_failing_shadow_is_counted_and_not_raised(make: Make) -> None:
    registry = shadowed(make, "registry.versions:raising")
    assert registry.predict("m", 1).output == 2
    registry._shadows.settle()
    assert metrics(registry)["hotstart_model_shadow_errors_total"] == 1


def test_slow_shadow_delays_no_answer_and_bounds_queue(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr("registry.versions.two", lambda: lambda number: gate.wait(60))
    registry = shadowed(make, "registry.versions:two")
    began = time.monotonic()
    for number in range(shadowing.MOST_WAITING + 20):
        registry.predict("m", number)
    assert time.monotonic() - began < 2.0
    assert metrics(registry)["hotstart_model_shadow_dropped_total"] >= 18
    gate.set()
    registry._shadows.settle()


def test_set_shadow_starts_and_stops_shadow(make: Make) -> None:
    registry = shadowed(make, "registry.versions:two")
    registry.set_shadow("m", None)
    registry.predict("m", 1)
    registry.set_shadow("m", "shadow")
    registry.predict("m", 1)
    registry._shadows.settle()
    assert metrics(registry)["hotstart_model_shadow_calls_total"] == 1


def test_shadow_thread_ends_when_idle(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "_IDLE", 0.05)
    registry = shadowed(make, "registry.versions:two")
    for _ in range(3):
        registry.predict("m", 1)
        registry._shadows.settle()
        deadline = time.monotonic() + 5
        while "hotstart-shadow" in {thread.name for thread in threading.enumerate()}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert metrics(registry)["hotstart_model_shadow_calls_total"] == 3
