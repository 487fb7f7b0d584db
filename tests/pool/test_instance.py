"""One load however many ask; failures kept, told and retried; nothing unloaded in use."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hotstart.errors import LoadFailed, ModelNotFound, NotReady
from hotstart.pool import instance as lifecycle_module
from hotstart.pool import load as backoff_module
from hotstart.pool import promotion as promotion_module
from hotstart.pool.instance import Instance
from hotstart.types import Progress, Stage
from support.waiting import wait_until

STAGES: tuple[Stage, ...] = ("fast_start", "full")


class Model:
    """A thing that is loaded: it knows whether it was closed, and whether it may have been."""

    def __init__(self) -> None:
        self.closed = False
        self.users = 0

    def close(self) -> None:
        assert self.users == 0, "unloaded in use"
        assert not self.closed, "closed twice"
        self.closed = True


class Loader:
    """Loads when it is let, fails when it is told to, and counts."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error: BaseException | None = None
        self.refuse_promotion = False
        self.running = 0
        self.most_running = 0
        self.made: list[Model] = []

    def __call__(self, stage: Stage, report: Progress, beside: object) -> Model:
        if beside is not None:
            return self.promote()
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            report("session", 0.5)
            assert self.gate.wait(60)
            if self.error is not None:
                raise self.error
            self.made.append(Model())
            return self.made[-1]
        finally:
            self.running -= 1

    def promote(self) -> Model:
        if self.refuse_promotion:
            raise RuntimeError("no better stage here")
        self.made.append(Model())
        return self.made[-1]


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def instance(loader: Loader) -> Instance[Model]:
    return Instance("m", loader, Model.close)


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff_module, "FIRST_BACKOFF", 0.0)


def test_many_waiters_one_load(instance: Instance[Model], loader: Loader) -> None:
    loader.gate.clear()
    answers: list[Model] = []

    def ask() -> None:
        with instance.lease() as model:
            answers.append(model)

    threads = [threading.Thread(target=ask) for _ in range(30)]
    for thread in threads:
        thread.start()
    loader.gate.set()
    for thread in threads:
        thread.join()
    assert len(loader.made) == 1
    assert answers == loader.made * 30


def test_a_waiter_that_gives_up_stops_nothing(instance: Instance[Model], loader: Loader) -> None:
    loader.gate.clear()
    with (
        pytest.raises(NotReady, match="stage session") as caught,
        instance.lease(0.05),
    ):
        pass
    assert (caught.value.state, caught.value.stage) == ("loading", "session")
    assert caught.value.expected is None
    loader.gate.set()
    assert instance.wait(60)
    assert len(loader.made) == 1


def test_timeout_zero_starts_the_load_and_does_not_wait(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.gate.clear()
    began = time.monotonic()
    assert not instance.wait(0)
    assert time.monotonic() - began < 1
    assert instance.state == "loading"
    loader.gate.set()
    wait_until(lambda: instance.state == "ready")
    assert instance.wait(0)


def test_the_expected_time_comes_from_the_last_load(
    instance: Instance[Model], loader: Loader
) -> None:
    instance.wait()
    instance.unload()
    loader.gate.clear()
    with pytest.raises(NotReady, match=r"s of about 0\.0") as caught, instance.lease(0):
        pass
    assert caught.value.expected == instance.status().load_time
    loader.gate.set()
    instance.wait()


def test_a_failure_is_told_to_every_waiter_with_its_cause(
    instance: Instance[Model], loader: Loader
) -> None:
    loader.gate.clear()
    loader.error = RuntimeError("weights are upside down")
    failures: list[LoadFailed] = []

    def ask() -> None:
        try:
            instance.wait()
        except LoadFailed as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: instance.state == "loading")
    loader.gate.set()
    for thread in threads:
        thread.join()
    assert len(failures) == 8
    assert len({id(error) for error in failures}) == 8  # each its own traceback
    for error in failures:
        assert "RuntimeError: weights are upside down" in str(error)
        assert error.__cause__ is loader.error
    assert "upside down" in instance.status().reason


def test_a_failure_of_ours_is_raised_as_itself(instance: Instance[Model], loader: Loader) -> None:
    loader.error = ModelNotFound("m", looked=["there"], on_hub=True)
    with pytest.raises(ModelNotFound, match="looked in there"):
        instance.wait()


def test_within_the_backoff_the_failure_is_repeated_and_after_it_retried(
    instance: Instance[Model], loader: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(lifecycle_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    loader.error = RuntimeError("no")
    delays = []
    for _ in range(8):
        with pytest.raises(LoadFailed) as caught:
            instance.wait()
        delays.append(caught.value.retry_in)
        tries = instance._backoff.count
        now[0] += caught.value.retry_in * 0.9
        with pytest.raises(LoadFailed):
            instance.wait()
        assert instance._backoff.count == tries
        now[0] += caught.value.retry_in * 0.2
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]
    loader.error = None
    assert instance.wait()


def test_unload_waits_for_calls_in_flight_and_calls_meanwhile_load_again(
    instance: Instance[Model], loader: Loader
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(instance.lease())
        unloading = threading.Thread(target=instance.unload)
        unloading.start()
        wait_until(lambda: instance.state == "unloading")
        assert not first.closed
        later: list[bool] = []
        asking = threading.Thread(target=lambda: later.append(instance.wait()))
        asking.start()
    unloading.join()
    asking.join()
    assert first.closed
    assert later == [True]
    assert len(loader.made) == 2


def test_a_call_within_a_call_loads_beside_a_model_that_is_unloaded(
    instance: Instance[Model], loader: Loader
) -> None:
    """The outer call keeps the model; the inner one would wait for it, and so for itself."""
    with instance.lease() as outer:
        unloading = threading.Thread(target=instance.unload)
        unloading.start()
        wait_until(lambda: instance.state == "unloading")
        with instance.lease(timeout=60) as inner:
            assert inner is not outer
        assert not outer.closed
    unloading.join()
    assert outer.closed
    assert instance.state == "ready"
    assert not loader.made[1].closed


def test_unload_during_a_load_waits_for_it(instance: Instance[Model], loader: Loader) -> None:
    loader.gate.clear()
    instance.start()
    unloading = threading.Thread(target=instance.unload)
    unloading.start()
    loader.gate.set()
    unloading.join()
    assert instance.state == "unloaded"
    assert loader.made[0].closed


def test_the_model_is_let_go(instance: Instance[Model], loader: Loader) -> None:
    import weakref

    instance.wait()
    kept = weakref.ref(loader.made.pop())
    instance.unload()
    gc.collect()
    assert kept() is None


def test_settle_waits_for_a_load_and_no_longer_than_it_may(
    instance: Instance[Model], loader: Loader
) -> None:
    assert instance.settle(5) <= 5
    loader.gate.clear()
    instance.start()
    assert instance.settle(0.05) <= 0
    loader.gate.set()
    assert instance.settle(10) > 0
    assert instance.state == "ready"


class InstanceMachine(RuleBasedStateMachine):
    """Any order of asking, failing, giving up, promoting, forking and unloading."""

    def __init__(self) -> None:
        super().__init__()
        backoff_module.FIRST_BACKOFF = 0.0
        self.loader = Loader()
        promotion_module.GRACE = 0.0
        self.instance: Instance[Model] = Instance("m", self.loader, Model.close, STAGES)
        self.leases: list[ExitStack] = []
        self.waiters: list[threading.Thread] = []
        self.answers: list[object] = []
        self.held = False

    def quiet(self) -> None:
        """Let what runs come to its end; a promotion does not while a lease is held."""
        if not self.leases:
            self.instance.settle(5)

    @rule()
    def start(self) -> None:
        self.instance.start()

    @precondition(lambda self: not self.held)
    @rule()
    def hold_loads(self) -> None:
        self.quiet()
        self.held = True
        self.loader.gate.clear()

    @rule(fail=st.booleans())
    def let_loads_end(self, fail: bool) -> None:
        self.loader.error = RuntimeError("told to") if fail else None
        self.held = False
        self.loader.gate.set()
        self.quiet()

    @rule(refuse=st.booleans(), stage=st.sampled_from(STAGES))
    def promote(self, refuse: bool, stage: Stage) -> None:
        self.loader.refuse_promotion = refuse
        self.instance.promote(stage)

    @precondition(lambda self: not self.leases and not self.held)
    @rule()
    def fork(self) -> None:
        """What the child of a fork does, in the parent's place, once nothing runs there."""
        self.quiet()
        for waiter in self.waiters:
            waiter.join(60)
        self.quiet()
        left = self.instance.peek()
        self.instance.reset_after_fork()
        if left is not None:
            left.closed = True  # it is the parent's, and kept

    @rule()
    def ask_and_give_up(self) -> None:
        try:
            with self.instance.lease(0) as model:
                assert not model.closed
        except (NotReady, LoadFailed):
            pass

    @rule()
    def ask_and_wait_in_a_thread(self) -> None:
        def ask() -> None:
            try:
                with self.instance.lease() as model:
                    model.users += 1
                    assert not model.closed
                    model.users -= 1
                    self.answers.append("model")
            except LoadFailed:
                self.answers.append("failure")

        self.waiters.append(threading.Thread(target=ask))
        self.waiters[-1].start()

    @rule()
    def reload_in_a_thread(self) -> None:
        def reload() -> None:
            try:
                self.instance.reload()
                self.answers.append("reloaded")
            except LoadFailed:
                self.answers.append("failure")

        self.waiters.append(threading.Thread(target=reload))
        self.waiters[-1].start()

    @precondition(lambda self: not self.leases and not self.held)
    @rule()
    def hold_a_lease(self) -> None:
        stack = ExitStack()
        with contextlib.suppress(LoadFailed):
            model = stack.enter_context(self.instance.lease(10))
            assert not model.closed
            self.leases.append(stack)

    @precondition(lambda self: self.leases)
    @rule()
    def end_a_lease(self) -> None:
        self.leases.pop().close()

    @precondition(lambda self: not self.leases and not self.held)
    @rule()
    def unload(self) -> None:
        self.instance.unload()

    @invariant()
    def at_most_one_load_runs_and_no_model_is_forgotten(self) -> None:
        """Two live while one is swapped for the other; a third where that one was unloaded
        meanwhile and asked for again; a fourth that was reloaded under a lease."""
        assert self.loader.most_running <= 1
        assert sum(not model.closed for model in list(self.loader.made)) <= 4

    def teardown(self) -> None:
        for stack in self.leases:
            stack.close()
        self.loader.gate.set()
        for waiter in self.waiters:
            waiter.join(60)
            assert not waiter.is_alive(), "a lost waiter"
        assert len(self.answers) == len(self.waiters)
        backoff_module.FIRST_BACKOFF = 0.5


InstanceMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # threads on a busy machine are
)
TestInstanceMachine = InstanceMachine.TestCase


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name.startswith("hotstart-load-m")]
    )
