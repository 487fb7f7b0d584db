"""The instances of a process, one for each model."""

from __future__ import annotations

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

_PATIENCE = 3.0  # seconds that a fork waits for running loads
MOST_LOADS = 16
"""Maximal number of concurrent loads. Most wait for a disk, an import or a server."""


class _Footprint:
    """The memory that a model takes, as far as it is known.

    Attributes:
        growth: bytes by which the process grew during the last load that ran alone.
    """

    def __init__(self, factory: ModelFactory) -> None:
        self._factory = factory
        self._size: int | None = None
        self.growth = 0

    def bytes(self) -> int:
        """Return the growth, at least the size of the model's files."""
        if self._size is None:
            self._size = self._factory.size()
        return max(self.growth, self._size)

    def reset_size(self) -> None:
        """Read the size again when it is next needed: a load may have written the files."""
        self._size = None


class _Entry(NamedTuple):
    instance: Instance[Any]
    factory: ModelFactory
    footprint: _Footprint


class Pool:
    """The instances of a process. Equal specs share one instance, one load, one set of weights.

    Args:
        budget: bytes that the models may take; None for the memory of the machine.
        most_loads: maximal number of concurrent loads; further loads wait.
    """

    def __init__(self, *, budget: int | None = None, most_loads: int = MOST_LOADS) -> None:
        self._most_loads = most_loads
        self._entries: dict[Hashable, _Entry] = {}
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
        entry = self._entries.get(spec)
        return entry.instance if entry else self.hold(spec, factory_of(spec), limits)

    def hold(
        self, key: Hashable, factory: ModelFactory, limits: Limits = NO_LIMITS
    ) -> Instance[Any]:
        """Return the instance `key`, created by `factory` if needed. Loads nothing."""
        with self._lock:
            if key not in self._entries:
                footprint = _Footprint(factory)
                instance: Instance[Any] = Instance(
                    factory.name,
                    functools.partial(self._load, factory, footprint),
                    factory.close,
                    stages=factory.stages,
                    load_timeout=limits.load_timeout,
                    keep_alive=limits.keep_alive,
                    patience=factory.patience,
                )
                self._entries[key] = _Entry(instance, factory, footprint)
            return self._entries[key].instance

    def drop(self, key: Hashable) -> None:
        """Unload and forget the instance `key`, if there is one."""
        with self._lock:
            entry = self._entries.pop(key, None)
        if entry is not None:
            entry.instance.unload()

    def size(self, key: Hashable) -> int:
        """Return the approximate bytes of the model `key`.

        The growth of this process during its load, if it loaded alone; at least the size of its
        files.
        """
        return self._entries[key].footprint.bytes()

    def residents(self) -> list[Resident]:
        """Return the loaded models, as the eviction policy sees them."""
        with self._lock:
            entries = dict(self._entries)
        return [
            Resident(
                key=key,
                bytes=entry.footprint.bytes(),
                last_used=entry.instance.last_used,
                in_use=entry.instance.in_use,
                pinned=entry.factory.pinned,
            )
            for key, entry in entries.items()
            if entry.instance.peek() is not None
        ]

    def loading(self) -> list[str]:
        """Return the names of the models that are being loaded or promoted."""
        with self._lock:
            entries = list(self._entries.values())
        return [entry.instance.name for entry in entries if entry.instance.busy]

    def settle(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the running loads."""
        with self._lock:
            entries = list(self._entries.values())
        for entry in entries:
            timeout = entry.instance.settle(timeout)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: no model is loaded and no lock is held."""
        self._reset()
        for entry in self._entries.values():
            entry.instance.reset_after_fork()

    def has_several(self) -> bool:
        """Return at once whether the pool has more than one instance."""
        return len(self._entries) > 1

    def unload_if_idle(self, key: Hashable, why: str) -> bool:
        """Unload the model called `key` if no call uses it; return whether it was."""
        with self._lock:
            entry = self._entries.get(key)
        return entry is not None and entry.instance.unload_if_idle(why)

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
        self,
        factory: ModelFactory,
        footprint: _Footprint,
        stage: Stage,
        report: Progress,
        beside: Any,
    ) -> Any:
        if beside is not None:  # a promotion: its model has a place already
            return factory.load(stage, report, beside)
        with self._place(report), self.memory.reserve(factory.name, factory.size):
            with self._lock:
                self._under_way += 1
                self._begun += 1
                number = self._begun
                alone = self._under_way == 1
            before = resident_memory()
            try:
                return factory.load(stage, report, None)
            finally:
                with self._lock:
                    self._under_way -= 1
                    footprint.reset_size()
                    if alone and number == self._begun:
                        footprint.growth = resident_memory() - before


@functools.cache
def default_pool() -> Pool:
    """Return the pool of this process."""
    return Pool()


def _settle(reference: weakref.ref[Pool]) -> None:
    """Wait for running loads before a fork: a child cannot complete half-imported modules."""
    pool = reference()
    if pool is not None:
        pool.settle(_PATIENCE)
