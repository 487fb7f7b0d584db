"""Models held for as long as somebody outside the registry needs them, then unloaded."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

from hotstart.pool.aio import in_background
from hotstart.registry.registry import ModelRegistry


class Lease:
    """What one of Ray's slots holds of a model. Ray calls `__del__` when another takes the slot."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def __del__(self) -> None:
        end, self._end = self._end, None  # the interpreter calls it once more
        if end:
            end()


class Leases:
    """Who needs which model: slots, and calls in flight. What nobody needs any more is unloaded."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Keep the model until `end`."""
        with self._lock:
            self._count[name] += 1

    def end(self, name: str) -> None:
        """Let go of the model; return at once. It is unloaded if nobody else has it."""
        with self._lock:
            self._count -= Counter({name: 1})
            last = name not in self._count
        if last:  # behind, for an unload waits for a load under way
            in_background(True, self._unload, name)

    def held(self) -> list[str]:
        """Return the models that somebody needs."""
        with self._lock:
            return sorted(self._count)

    def _unload(self, name: str) -> None:
        if name not in self.held():  # it may have come back meanwhile
            self._registry.unload(name)
