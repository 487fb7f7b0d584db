"""Failures of a store: each is counted, and the log is told when they begin and when they end."""

from __future__ import annotations

import logging

from hotstart.concurrency import ForkLock

logger = logging.getLogger("hotstart.cache")


class Faults:
    """The failures of the store at `place`, which must hold no password. Safe from any thread."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._count = 0
        self._failing: set[str] = set()
        self._lock = ForkLock()

    @property
    def count(self) -> int:
        """How many there were."""
        return self._count

    def add(self, number: int = 1) -> None:
        """Count `number` more of what the log was told of already."""
        with self._lock:
            self._count += number

    def begin(self, doing: str, error: Exception, number: int = 1) -> None:
        """Count `number` of `doing`, as "write"; the first of a row is logged as a warning."""
        with self._lock:
            self._count += number
            first = doing not in self._failing
            self._failing.add(doing)
        level = logging.WARNING if first else logging.DEBUG
        kind = type(error).__name__
        logger.log(level, "Cache %s: %s failed: %s: %s", self._place, doing, kind, error)

    def end(self, doing: str) -> None:
        """Note that `doing` worked; logged where it failed the last time."""
        if doing not in self._failing:
            return
        with self._lock:
            self._failing.discard(doing)
        logger.warning("Cache %s: %s works again", self._place, doing)
