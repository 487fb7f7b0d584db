"""The memory budget: eviction policy, reservations, memory pressure.

`victims` is the pure policy; `MemoryBudget` applies it, one load at a time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hotstart.errors import InsufficientMemory
from hotstart.system import MemoryLeft, memory_left, pressure_files

if TYPE_CHECKING:
    from logging import Logger


class Resident(NamedTuple):
    """A loaded model, as the eviction policy sees it.

    Attributes:
        key: its key in the pool.
        bytes: approximate bytes that unloading it frees.
        last_used: time of the last use, by `time.monotonic`.
        in_use: number of calls that use it now.
        pinned: whether it is never evicted.
    """

    key: Hashable
    bytes: int
    last_used: float
    in_use: int
    pinned: bool


def victims(residents: Iterable[Resident], wanted: int) -> list[Resident]:
    """Return the models to unload, in order, to free `wanted` bytes, and no more than needed.

    Return every evictable model if all of them free less than `wanted`.
    """
    may_go = (r for r in residents if not r.in_use and not r.pinned and r.bytes > 0)
    chosen: list[Resident] = []
    for resident in sorted(may_go, key=lambda r: r.last_used):
        if wanted <= 0:
            break
        chosen.append(resident)
        wanted -= resident.bytes
    return chosen


SCARCE = 200_000_000
"""Bytes left, below which idle models go, where the kernel does not tell of a shortage itself."""

BUDGET = "the budget of its registry"


class ResidentModels(Protocol):
    """The loaded models of a pool, as the memory budget sees them."""

    def residents(self) -> list[Resident]:
        """Return the loaded models."""

    def has_several(self) -> bool:
        """Return at once whether there may be more than one model."""

    def unload_if_idle(self, key: Hashable, why: str) -> bool:
        """Unload a model for the reason `why` if no call uses it; return whether it was."""


class MemoryBudget:
    """The memory that the models of one pool may use. Thread-safe.

    Args:
        models: the loaded models of the pool.
        budget: bytes for all of them; None for the memory that machine or cgroup has left.
        left: returns the memory left.
    """

    def __init__(
        self,
        models: ResidentModels,
        budget: int | None = None,
        left: Callable[[], MemoryLeft] = memory_left,
    ) -> None:
        self.budget = budget
        self._models = models
        self._left = left
        self._checked_at = 0.0
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """Reset in a forked child."""
        self._turn = threading.Lock()
        self._reserved = 0

    @contextmanager
    def reserve(self, name: str, size: Callable[[], int]) -> Iterator[None]:
        """Free the bytes of a model and reserve them while it is loaded.

        `size` is called only if a model can be evicted or the budget exceeded.

        Raises:
            InsufficientMemory: evicting every idle model does not free enough.
        """
        wanted = size() if self.budget is not None or self._models.has_several() else 0
        with self._turn:
            self._free_up(name, wanted)
            self._reserved += wanted
        try:
            yield
        finally:
            with self._turn:
                self._reserved -= wanted

    def check(self) -> None:
        """Evict idle models if less than SCARCE is left; at most once a second."""
        now = time.monotonic()
        if now - self._checked_at < 1.0:
            return
        self._checked_at = now
        left = self._left()
        if left.bytes < SCARCE:
            self.evict(SCARCE - left.bytes, f"{left.limit} leaves {left.bytes / 1e6:.0f} MB")

    def evict(self, wanted: int, why: str) -> int:
        """Unload idle models of `wanted` bytes, because of `why`; return how many."""
        chosen = victims(self._models.residents(), wanted)
        gone = [resident for resident in chosen if self._models.unload_if_idle(resident.key, why)]
        for resident in gone:
            _logger().info("Unloaded %s (%d bytes): %s", resident.key, resident.bytes, why)
        return len(gone)

    def _free_up(self, name: str, size: int) -> None:
        missing = size - self._free().bytes if size else 0
        if missing > 0:
            self.evict(missing, f"{name} needed the memory")
            free = self._free()
            if free.bytes < size:
                raise InsufficientMemory(
                    name, needed=size, available=max(0, free.bytes), limit=free.limit
                )

    def _free(self) -> MemoryLeft:
        left = self._left()
        free = [MemoryLeft(left.bytes - self._reserved, left.limit)]
        if self.budget is not None:
            used = sum(resident.bytes for resident in self._models.residents())
            free.append(MemoryLeft(self.budget - used - self._reserved, BUDGET))
        return min(free)


TRIGGER = b"some 200000 2000000\0"
"""Stalled for 0.2 of 2 s: microseconds. Without privileges the kernel takes windows of 2 s only."""


class MemoryPressureMonitor(threading.Thread):
    """Calls `relieve` when the kernel reports memory pressure."""

    def __init__(self, descriptor: int, relieve: Callable[[], object]) -> None:
        super().__init__(name="hotstart-shortage", daemon=True)
        self._descriptor = descriptor
        self._relieve = relieve
        self._ending, self._end = os.pipe()

    def run(self) -> None:
        """Wait for events of the kernel."""
        import select

        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLPRI)
        waiting.register(self._ending, select.POLLIN)
        try:
            while self._ending not in (ready := dict(waiting.poll())):
                if ready[self._descriptor] & select.POLLERR:
                    _logger().warning("The kernel no longer reports memory pressure")
                    return
                self._relieve()
        finally:
            os.close(self._descriptor)
            os.close(self._ending)

    def stop(self) -> None:
        """Stop the thread and wait for its end."""
        os.close(self._end)
        self.join()


def watch_memory_pressure(
    relieve: Callable[[], object], files: Iterable[str] | None = None, trigger: bytes = TRIGGER
) -> MemoryPressureMonitor | None:
    """Return a running monitor of the first of `files` that accepts a trigger; None if none does.

    By default monitor the cgroup of this process, else the machine.
    """
    for path in pressure_files() if files is None else files:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            os.write(descriptor, trigger)
        except OSError:
            os.close(descriptor)
            continue
        watch = MemoryPressureMonitor(descriptor, relieve)
        watch.start()
        return watch
    return None


def _logger() -> Logger:
    import logging  # logging takes 4 ms to import

    return logging.getLogger(__name__)
