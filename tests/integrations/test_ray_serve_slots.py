"""Models that slots and calls hold: unloaded when the last of them lets go, and not before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from hotstart import ModelRegistry
from hotstart.engines.fake import fake_control
from hotstart.integrations.ray_serve import ModelSlot, ModelSlots
from support.waiting import wait_until

pytestmark = pytest.mark.integrations


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[ModelRegistry]:
    models = {"a": {"source": f"fake:name={request.node.name}"}}
    with ModelRegistry.from_config({"models": models}) as made:
        yield made


def slot(registry: ModelRegistry, leases: ModelSlots) -> ModelSlot:
    registry.load_all()
    leases.add("a")
    return ModelSlot(partial(leases.end, "a"))


def test_a_slot_that_ends_has_its_model_unloaded_once(registry: ModelRegistry) -> None:
    leases = ModelSlots(registry)
    lease = slot(registry, leases)
    assert leases.held() == ["a"]
    lease.__del__()  # as Ray does
    wait_until(lambda: not registry.is_loaded("a"))
    leases.add("a")
    del lease  # as the interpreter does later
    assert leases.held() == ["a"]


def test_a_call_in_flight_keeps_the_model_of_a_slot_that_ended(registry: ModelRegistry) -> None:
    leases = ModelSlots(registry)
    lease = slot(registry, leases)
    leases.add("a")
    lease.__del__()
    assert leases.held() == ["a"]
    time.sleep(0.05)
    assert registry.is_loaded("a")
    leases.end("a")
    wait_until(lambda: not registry.is_loaded("a"))


def test_a_model_that_came_back_is_not_unloaded(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Callable[[], None]] = []

    def later(waits: bool, call: Callable[..., None], *arguments: object) -> None:
        waiting.append(partial(call, *arguments))

    monkeypatch.setattr("hotstart.integrations.ray_serve.in_background", later)
    leases = ModelSlots(registry)
    slot(registry, leases).__del__()
    second = slot(registry, leases)
    waiting.pop()()
    assert registry.is_loaded("a")
    second.__del__()
    waiting.pop()()
    assert not registry.is_loaded("a")


def test_ending_waits_for_no_load(registry: ModelRegistry, request: pytest.FixtureRequest) -> None:
    slow = f"fake:name={request.node.name}-slow,hang_load=true"
    with ModelRegistry.from_config({"models": {"slow": {"source": slow}}}) as hanging:
        leases = ModelSlots(hanging)
        hanging.start_loading("slow")
        leases.add("slow")
        ended = threading.Thread(target=leases.end, args=("slow",))
        ended.start()
        ended.join(60)
        assert not ended.is_alive()
        fake_control(f"{request.node.name}-slow").release()
        wait_until(lambda: hanging.models()["slow"].status == "unloaded")
