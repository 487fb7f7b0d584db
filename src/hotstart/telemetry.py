"""Figures: what is counted and timed, in the one shape that a server exposes.

Whoever counts offers `figures()`, which yields a `Figure` for each number as it is at that moment.
Names and units are those Prometheus asks for: `hotstart_..._total`, seconds, bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Literal, NamedTuple

from hotstart.concurrency import ForkLock

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a histogram of seconds, from a cached vector to a slow remote."""

_NONE: Mapping[str, str] = MappingProxyType({})


class Distribution(NamedTuple):
    """What a histogram has seen.

    Attributes:
        bounds: upper bound of each bucket; one more, without a bound, follows.
        counts: observations at most as large as each bound, then all of them.
        sum: of everything observed.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def total(self) -> int:
        """How many were observed."""
        return self.counts[-1]

    def quantile(self, share: float) -> float | None:
        """Return a bound below which `share` (0 to 1) of the observations lie.

        None while nothing was observed; infinity where it lies beyond the last bound.
        """
        if not self.total:
            return None
        wanted = share * self.total
        place = next(i for i, count in enumerate(self.counts) if count >= wanted)
        return self.bounds[place] if place < len(self.bounds) else float("inf")


class Figure(NamedTuple):
    """One number, or one distribution, with its name and its meaning."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    value: float | Distribution
    labels: Mapping[str, str] = _NONE


class Histogram:
    """Counts observations by size. Safe from any thread."""

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0
        self._lock = ForkLock()

    def observe(self, value: float) -> None:
        """Count one observation."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def read(self) -> Distribution:
        """Return what was seen so far."""
        with self._lock:
            return Distribution(self._bounds, tuple(accumulate(self._counts)), self._sum)


class Tally:
    """Counts by name. Safe from any thread."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = ForkLock()

    def add(self, name: str, number: int = 1) -> None:
        """Count `number` more of `name`."""
        with self._lock:
            self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def items(self) -> list[tuple[str, int]]:
        """Return every name and its count, sorted by name."""
        with self._lock:
            return sorted(self._counts.items())
