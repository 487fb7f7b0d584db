"""What is counted of each version of a model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from hotstart.concurrency import ForkLock
from hotstart.telemetry import Figure, Histogram, Tally

DIFFERENCES = (0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 10.0)
"""Upper bounds of the buckets of answers' differences; beyond them lies a different label too."""

_COUNTERS = {
    "calls": ("hotstart_model_calls_total", "Calls that were answered or failed"),
    "errors": ("hotstart_model_errors_total", "Calls that failed"),
    "hits": ("hotstart_model_hits_total", "Times it was used or asked and was in memory"),
    "misses": ("hotstart_model_misses_total", "Times it was wanted and was not in memory"),
    "fallbacks": ("hotstart_model_fallbacks_total", "Times its fallback was given in its place"),
    "shadowed": ("hotstart_model_shadow_calls_total", "Calls repeated on it as a shadow"),
    "shadow errors": ("hotstart_model_shadow_errors_total", "Repeated calls that failed"),
    "shadow dropped": ("hotstart_model_shadow_dropped_total", "Not repeated: too many waited"),
}


class VersionFigures:
    """Counts and times of one version. Safe from any thread."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.latency = Histogram()
        self.loads = Histogram()
        self.shadow_latency = Histogram()
        self.differences = Histogram(DIFFERENCES)

    def read(self, labels: Mapping[str, str], uses: int) -> Iterator[Figure]:
        """Yield every number as it is now, named as Prometheus asks, under `labels`."""
        yield Figure(
            "hotstart_model_uses_total", "counter", "Times it was handed out", uses, labels
        )
        for name, (public, told) in _COUNTERS.items():
            yield Figure(public, "counter", told, self.tally[name], labels)
        histograms = (
            ("hotstart_model_latency_seconds", "Time to answer a call", self.latency),
            ("hotstart_model_load_seconds", "Time a load took", self.loads),
            ("hotstart_model_shadow_latency_seconds", "The same, as a shadow", self.shadow_latency),
            ("hotstart_model_shadow_difference", "To the answer given", self.differences),
        )
        for public, told, histogram in histograms:
            yield Figure(public, "histogram", told, histogram.read(), labels)


class Uses:
    """How often something was used.

    `count()` costs 0.05 µs and loses none among threads: it is one step of C. To read is to count
    too, which `_reads` takes off again.
    """

    def __init__(self) -> None:
        self.count = itertools.count().__next__
        self._reads = itertools.count().__next__
        self._reading = ForkLock()

    @property
    def number(self) -> int:
        """How often `count` was called."""
        with self._reading:
            return self.count() - self._reads()
