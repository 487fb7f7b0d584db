"""A better stage swapped in between two calls: no call fails, waits for it, or sees half a swap."""

from __future__ import annotations

import threading

import pytest

from hotstart.pool import promotion as promotion_module
from hotstart.pool.instance import Instance
from hotstart.pool.promotion import next_stage
from hotstart.pool.strategies import BULK_TEXTS, STRATEGIES
from hotstart.types import Progress, Stage
from support.waiting import wait_until

STAGES: tuple[Stage, ...] = ("fast_start", "full", "throughput")


class Model:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.users = 0
        self.closed = False

    def close(self) -> None:
        assert self.users == 0, "closed in use"
        assert not self.closed, "closed twice"
        self.closed = True


class Loader:
    def __init__(self) -> None:
        self.made: list[Model] = []
        self.fail: set[Stage] = set()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, stage: Stage, report: Progress, beside: object) -> Model:
        if stage != "fast_start":
            assert self.gate.wait(60)
        if stage in self.fail:
            raise RuntimeError(f"no {stage} here")
        self.made.append(Model(stage))
        return self.made[-1]


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def instance(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> Instance[Model]:
    monkeypatch.setattr(promotion_module, "GRACE", 0.0)
    return Instance("m", loader, Model.close, STAGES)


def test_first_light_answers_while_the_next_stage_is_loaded(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.gate.clear()
    with instance.lease() as model:
        assert model.stage == "fast_start"
    assert instance.state == "ready"
    loader.gate.set()
    wait_until(lambda: instance.status().stage == "full")
    assert loader.made[0].closed
    assert list(instance.status().stages) == ["fast_start", "full"]


def test_a_call_keeps_the_model_it_began_with_and_the_old_is_closed_after_it(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.gate.clear()
    with instance.lease() as old:
        loader.gate.set()
        wait_until(lambda: instance.status().stage == "full")
        assert not old.closed
        with instance.lease() as new:
            assert new.stage == "full"
    wait_until(lambda: old.closed)


def test_bulk_work_brings_the_throughput_stage(instance: Instance[Model], loader: Loader) -> None:
    instance.wait()
    wait_until(lambda: instance.status().stage == "full" and not instance.busy)
    with instance.lease(texts=10_000):
        pass
    wait_until(lambda: instance.status().stage == "throughput")
    wait_until(lambda: [m.closed for m in loader.made] == [True, True, False])


def test_it_can_be_asked_for(instance: Instance[Model]) -> None:
    instance.promote("throughput")
    wait_until(lambda: instance.status().stage == "throughput")


def test_a_promotion_that_fails_leaves_what_serves_and_says_why(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.fail = {"full"}
    instance.wait()
    wait_until(lambda: "full" in instance.status().refused)
    with instance.lease() as model:
        assert model.stage == "fast_start"
    assert instance.status().refused == {"full": "RuntimeError: no full here"}
    assert len(loader.made) == 1  # it is not tried at every call
    loader.fail = set()
    instance.promote("full")
    wait_until(lambda: instance.status().stage == "full")
    assert instance.status().refused == {}


def test_unloading_while_it_is_promoted_closes_both(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.gate.clear()
    instance.wait()
    wait_until(lambda: instance.busy)
    instance.unload()
    assert loader.made[0].closed
    loader.gate.set()
    wait_until(lambda: len(loader.made) == 2 and loader.made[1].closed)
    assert instance.state == "unloaded"


def test_ten_thousand_calls_while_it_is_promoted_again_and_again(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    over = threading.Event()

    def promote() -> None:
        stages: list[Stage] = ["full", "throughput", "fast_start"]
        while not over.is_set():
            for stage in stages:
                instance.promote(stage)
                instance.settle(5)

    def call() -> None:
        calls = 0
        while calls < 2500 or len(loader.made) < 60:
            calls += 1
            with instance.lease(0.0) as model:
                model.users += 1
                assert not model.closed
                model.users -= 1

    promoting = threading.Thread(target=promote)
    callers = [threading.Thread(target=call) for _ in range(4)]
    failures: list[object] = []
    hook, threading.excepthook = threading.excepthook, failures.append
    try:
        for thread in (promoting, *callers):
            thread.start()
        for thread in callers:
            thread.join()
        over.set()
        promoting.join()
    finally:
        threading.excepthook = hook
    assert failures == []
    wait_until(lambda: sum(not model.closed for model in list(loader.made)) == 1)


def test_promotion_goes_stage_by_stage_and_throughput_waits_for_bulk() -> None:
    stages = STRATEGIES["progressive"].stages
    assert next_stage(stages, "fast_start", 0, None) == "full"
    assert next_stage(stages, "full", BULK_TEXTS - 1, None) is None
    assert next_stage(stages, "full", BULK_TEXTS, None) == "throughput"
    assert next_stage(stages, "throughput", 10**9, None) is None
    assert next_stage(("full",), "full", 10**9, None) is None


def test_lazy_packs_the_weights_only_for_those_who_go_on_asking() -> None:
    lazy = STRATEGIES["lazy"]
    assert next_stage(lazy.stages, "fast_start", 31, None, lazy.patience) is None
    assert next_stage(lazy.stages, "fast_start", 32, None, lazy.patience) == "full"


def test_what_is_asked_for_waits_for_nothing() -> None:
    assert next_stage(("full",), "full", 0, "throughput") == "throughput"
    assert next_stage(("full",), "full", 0, "full") is None
