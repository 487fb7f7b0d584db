"""Whatever is done with a registry, in whatever order, while it is asked: nothing is lost."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hotstart import ModelRegistry
from hotstart.errors import HotstartError
from hotstart.pool import load as backoff
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config

NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.sampled_from(["1", "2"])


class Part:
    """A loaded version: it knows that it is used, and was never let go of meanwhile."""

    def __init__(self, shop: Shop, label: str) -> None:
        self.shop, self.label = shop, label

    def __call__(self, inputs: Any) -> str:
        return self.label


class Shop:
    """Makes parts, or fails, and counts how many of one version are made at once."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.failed: set[str] = set()  # ever: a load under way may have begun then
        self.making: dict[str, int] = {}
        self.most = 0
        self.lock = threading.Lock()

    def make(self, label: str) -> Part:
        with self.lock:
            self.making[label] = self.making.get(label, 0) + 1
            self.most = max(self.most, self.making[label])
        try:
            time.sleep(0.001)
            if label in self.failing:
                raise RuntimeError("out of order")
            return Part(self, label)
        finally:
            with self.lock:
                self.making[label] -= 1


SHOP = [Shop()]


def part(label: str) -> Part:
    """What configuration names: parts come from the shop of the machine that runs."""
    return SHOP[0].make(label)


def table(name: str) -> dict[str, Any]:
    here = f"{__name__}:{name}_"
    versions = {label: f"{here}{label}" for label in ("1", "2")}
    return {"kind": "custom", "versions": versions, "version": "1"}


def a_1() -> Part:
    return part("a 1")


def a_2() -> Part:
    return part("a 2")


def b_1() -> Part:
    return part("b 1")


def b_2() -> Part:
    return part("b 2")


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        backoff.FIRST_BACKOFF = 0.0
        SHOP[0] = Shop()
        models = {"a": table("a"), "b": table("b") | {"fallback": "a"}}
        self.pool = Pool()
        self.registry = ModelRegistry(read_config({"models": models}), pool=self.pool)
        self.routes: dict[str, list[str]] = {"a": ["1"], "b": ["1"]}
        self.threads: list[threading.Thread] = []
        self.uses: list[tuple[contextlib.ExitStack, Any, str]] = []
        self.faults: list[str] = []

    def beside(self, work: Any) -> None:
        """Run `work` beside what follows; only errors that are told to callers may come of it."""

        def run() -> None:
            try:
                work()
            except HotstartError:
                pass
            except BaseException as error:  # noqa: BLE001 - it is the test's finding
                self.faults.append(repr(error))

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    @rule(name=NAMES)
    def load(self, name: str) -> None:
        self.registry.start_loading(name)

    @rule(name=NAMES, version=st.one_of(st.none(), VERSIONS))
    def reload(self, name: str, version: str | None) -> None:
        self.beside(lambda: self.registry.reload(name, version))

    @rule(name=NAMES, version=VERSIONS)
    def fail(self, name: str, version: str) -> None:
        SHOP[0].failing ^= {f"{name} {version}"}
        SHOP[0].failed.add(f"{name} {version}")

    @rule(version=VERSIONS)
    def set_model(self, version: str) -> None:
        self.registry.set_model("own", f"own {version}", version=version)
        assert self.registry.get_model("own") == f"own {version}"

    @rule(name=NAMES, version=VERSIONS)
    def route(self, name: str, version: str) -> None:
        try:
            self.registry.set_route(name, {version: 1.0}, timeout=5)
        except HotstartError:
            assert f"{name} {version}" in SHOP[0].failed
        else:
            if self.routes[name][-1] != version:
                self.routes[name].append(version)

    @rule(name=NAMES)
    def rollback(self, name: str) -> None:
        try:
            self.registry.rollback(name, timeout=5)
        except HotstartError:
            before = self.routes[name][-2:-1]
            assert not before or f"{name} {before[0]}" in SHOP[0].failed
        else:
            self.routes[name].pop()

    @rule()
    def pressure(self) -> None:
        self.beside(lambda: self.pool.memory.evict(10**12, "memory is short"))

    @rule(name=NAMES)
    def unload(self, name: str) -> None:
        if not self.uses:  # it would wait for them
            self.registry.unload(name)

    @rule(name=NAMES)
    def ask(self, name: str) -> None:
        def predict() -> None:
            answer = self.registry.predict(name, None, timeout=5)
            assert answer.output == f"{answer.model} {answer.version}"
            assert answer.model == name or answer.reason

        self.beside(predict)

    @rule(name=NAMES)
    def begin_use(self, name: str) -> None:
        stack = contextlib.ExitStack()
        with contextlib.suppress(HotstartError):
            model = stack.enter_context(self.registry.lease(name, timeout=5))
            self.uses.append((stack, model, model.label))

    @rule()
    def end_use(self) -> None:
        if self.uses:
            stack, model, label = self.uses.pop()
            assert model(None) == label
            stack.close()

    @invariant()
    def nothing_is_lost(self) -> None:
        assert SHOP[0].most <= 1, "two loads of one version at once"
        assert self.faults == []
        for name, entry in self.registry.models().items():
            if name in self.routes:
                assert entry.version == self.routes[name][-1]
        for _, model, label in self.uses:
            assert model(None) == label

    def teardown(self) -> None:
        for stack, _, _ in self.uses:
            stack.close()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a lost waiter"
        SHOP[0].failing.clear()
        for name in ("a", "b"):
            with contextlib.suppress(
                HotstartError
            ):  # of a load that was under way while it was out of order
                self.registry.predict(name, None)
            assert self.registry.predict(name, None).model == name
        instances = [entry.instance for entry in self.pool._entries.values()]
        assert all(instance.in_use == 0 for instance in instances), "a lost reference"
        self.registry.close()
        assert self.pool.residents() == []
        backoff.FIRST_BACKOFF = 0.5


RegistryMachine.TestCase.settings = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink],  # threads never fail alike
    suppress_health_check=[HealthCheck.too_slow],  # threads on a busy machine are
)
TestRegistryMachine = RegistryMachine.TestCase
