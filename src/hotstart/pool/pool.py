"""The instances of a process, one for each model."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from hotstart.concurrency import reset_after_fork
from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Instance
from hotstart.pool.loader import NO_LIMITS, Limits, LoadedModel, ModelFactory, factory_of
from hotstart.pool.memory import MemoryBudget, Resident
from hotstart.system import resident_memory
from hotstart.types import Progress, Stage

_PATIENCE = 3.0  # seconds that an exit or a fork waits for running loads
MOST_LOADS = 16
"""Loads at a time: many wait for a disk, a library's import or another machine, side by side."""


class _Held(NamedTuple):
    instance: Instance[Any]
    factory: ModelFactory


class Pool:
    """The instances of a process. Equal specs share one instance, one load, one set of weights.

    Args:
        budget: bytes that the models may take; None for the memory of the machine.
        most_loads: maximal number of concurrent loads; further loads wait.
    """

    def __init__(self, *, budget: int | None = None, most_loads: int = MOST_LOADS) -> None:
        self._most_loads = most_loads
        self._held: dict[Hashable, _Held] = {}
        self._grown: dict[Hashable, int] = {}  # measured growth of loads that ran alone
        self._sizes: dict[Hashable, int] = {}  # size by factory of each loaded model
        self.memory = MemoryBudget(self, budget)
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=functools.partial(_settle, weakref.ref(self)))
        reset_after_fork(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(self._most_loads)
        self._begun = self._under_way = 0  # loads, guarded by the lock
        self.memory.reset_after_fork()

    def instance(self, spec: ModelSpec, limits: Limits = NO_LIMITS) -> Instance[LoadedModel]:
        """Return the instance of `spec`, creating it if needed. Loads nothing.

        The first caller sets strategy and limits.
        """
        held = self._held.get(spec)
        return held.instance if held else self.hold(spec, factory_of(spec), limits)

    def hold(
        self, key: Hashable, factory: ModelFactory, limits: Limits = NO_LIMITS
    ) -> Instance[Any]:
        """Return the instance `key`, created by `factory` if needed. Loads nothing."""
        with self._lock:
            if key not in self._held:
                instance: Instance[Any] = Instance(
                    factory.name,
                    functools.partial(self._load, key, factory),
                    factory.close,
                    stages=factory.stages,
                    load_timeout=limits.load_timeout,
                    keep_alive=limits.keep_alive,
                    patience=factory.patience,
                )
                self._held[key] = _Held(instance, factory)
            return self._held[key].instance

    def drop(self, key: Hashable) -> None:
        """Unload and forget the instance `key`, if there is one."""
        with self._lock:
            held = self._held.pop(key, None)
            self._grown.pop(key, None)
            self._sizes.pop(key, None)
        if held is not None:
            held.instance.unload()

    def size(self, key: Hashable) -> int:
        """Return the approximate bytes of the model `key`.

        The growth of this process during its load, if it loaded alone; at least the size of its
        files.
        """
        if key not in self._sizes:
            self._sizes[key] = self._held[key].factory.size()
        return max(self._grown.get(key, 0), self._sizes[key])

    def residents(self) -> list[Resident]:
        """Return the loaded models, as the eviction policy sees them."""
        with self._lock:
            held = dict(self._held)
        return [
            Resident(key, self.size(key), instance.last_used, instance.in_use, factory.pinned)
            for key, (instance, factory) in held.items()
            if instance.peek() is not None
        ]

    def loading(self) -> list[str]:
        """Return the names of the models that are being loaded or promoted."""
        with self._lock:
            return [held.instance.name for held in self._held.values() if held.instance.busy]

    def settle(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the running loads."""
        with self._lock:
            held = list(self._held.values())
        for instance, _ in held:
            timeout = instance.settle(timeout)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: no model is loaded and no lock is held."""
        self._reset()
        for instance, _ in self._held.values():
            instance.reset_after_fork()

    def has_several(self) -> bool:
        """Return at once whether the pool has more than one instance."""
        return len(self._held) > 1

    def unload_if_idle(self, key: Hashable, why: str) -> bool:
        """Unload the model called `key` if no call uses it; return whether it was."""
        with self._lock:
            held = self._held.get(key)
        return held is not None and held.instance.unload_if_idle(why)

    @contextmanager
    def _place(self, report: Progress) -> Iterator[None]:
        """Hold one of the `most_loads` places for concurrent loads."""
        if not self._places.acquire(blocking=False):
            report("waiting", 0.0)
            self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    def _load(
        self, key: Hashable, factory: ModelFactory, stage: Stage, report: Progress, beside: Any
    ) -> Any:
        if beside is not None:  # a promotion: its model has a place already
            return factory.load(stage, report, beside)
        with self._place(report), self.memory.reserve(factory.name, factory.size):
            with self._lock:
                self._under_way += 1
                self._begun += 1
                number, alone = self._begun, self._under_way == 1
            before = resident_memory()
            try:
                return factory.load(stage, report, None)
            finally:
                with self._lock:
                    self._under_way -= 1
                    self._sizes.pop(key, None)
                    if alone and number == self._begun:
                        self._grown[key] = resident_memory() - before


@functools.cache
def default_pool() -> Pool:
    """Return the pool of this process.

    At exit it waits for running loads: the interpreter crashes if it ends while a thread runs
    native code.
    """
    pool = Pool()
    atexit.register(pool.settle, _PATIENCE)
    return pool


def _settle(reference: weakref.ref[Pool]) -> None:
    """Wait for running loads before a fork: a child cannot complete half-imported modules."""
    pool = reference()
    if pool is not None:
        pool.settle(_PATIENCE)
