"""A reload loads beside what serves: no call fails, none sees half a swap, and the old one goes."""

from __future__ import annotations

import threading

import pytest

from hotstart.errors import LoadFailed, LoadTimeout
from hotstart.pool.instance import Instance
from hotstart.types import Progress, Stage
from support.waiting import wait_until


class Model:
    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = False

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


class Loader:
    def __init__(self) -> None:
        self.made: list[Model] = []
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most = 0

    def __call__(self, stage: Stage, report: Progress, beside: object) -> Model:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            assert self.gate.wait(60)
            if self.error:
                raise self.error
            self.made.append(Model(len(self.made)))
            return self.made[-1]
        finally:
            self.running -= 1


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def instance(loader: Loader) -> Instance[Model]:
    return Instance("m", loader, Model.close)


def test_the_new_one_serves_and_the_old_one_is_closed(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    instance.reload()
    serving = instance.peek()
    assert serving is loader.made[1]
    assert loader.made[0].closed
    assert instance.state == "ready"
    assert instance.status().reason.startswith("reloaded in")
    assert instance.status().loads == 2


def test_what_is_not_loaded_is_loaded_once(instance: Instance[Model], loader: Loader) -> None:
    instance.reload()
    assert len(loader.made) == 1


def test_a_failed_one_is_tried_again_at_once_back_off_or_not(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.error = RuntimeError("no")
    with pytest.raises(LoadFailed):
        instance.wait()
    with pytest.raises(LoadFailed):
        instance.reload()
    loader.error = None
    instance.reload()
    assert instance.state == "ready"


def test_the_old_one_serves_on_where_the_reload_fails_and_the_reason_is_kept(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    loader.error = RuntimeError("half written")
    with pytest.raises(LoadFailed, match="half written"):
        instance.reload()
    assert instance.peek() is loader.made[0]
    assert not loader.made[0].closed
    assert instance.failure is None
    assert "half written" in instance.status().reason
    with instance.lease(0) as model:
        assert model is loader.made[0]


def test_a_reload_that_hangs_ends_at_the_time_limit_and_what_comes_of_it_is_closed(
    loader: Loader,
) -> None:
    instance = Instance("m", loader, Model.close, load_timeout=0.1)
    instance.wait()
    loader.gate.clear()
    with pytest.raises(LoadTimeout):
        instance.reload()
    assert instance.peek() is loader.made[0]
    loader.gate.set()
    wait_until(lambda: len(loader.made) == 2 and loader.made[1].closed)


def test_a_call_in_flight_keeps_the_one_it_began_with(
    instance: Instance[Model], loader: Loader
) -> None:
    with instance.lease() as before:
        instance.reload()  # waits for no lease, not even its own thread's
        assert not before.closed
        with instance.lease(0) as after:
            assert after is loader.made[1]
    wait_until(lambda: before.closed)


def test_it_answers_while_the_new_one_loads_and_is_not_unloaded_as_idle(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    loader.gate.clear()
    reloading = threading.Thread(target=instance.reload)
    reloading.start()
    wait_until(lambda: loader.running == 1)
    with instance.lease(0) as model:
        assert model is loader.made[0]
    assert not instance.unload_if_idle("memory")
    loader.gate.set()
    reloading.join()
    assert instance.peek() is loader.made[1]


def test_reloads_asked_for_at_once_follow_one_another(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    threads = [threading.Thread(target=instance.reload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loader.most == 1
    assert [model.closed for model in loader.made] == [True] * 8 + [False]


def test_states_are_heard_of_in_order(instance: Instance[Model], loader: Loader) -> None:
    heard: list[str] = []
    instance.listen_states(lambda state, reason: heard.append(state))
    instance.wait()
    instance.reload()
    instance.unload()
    assert heard == ["unloaded", "loading", "ready", "ready", "unloading", "unloaded"]
