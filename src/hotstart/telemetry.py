"""Metrics, spans, and logs of programs that log.

Each object that counts has `metrics()`, which yields a `Metric` for each current number.
Names and units are those Prometheus asks for: `hotstart_..._total`, seconds, bytes.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, Literal, NamedTuple

from hotstart._lazy import require
from hotstart.concurrency import ForkLock

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the buckets of a histogram of seconds, from a cached vector to a slow remote."""

_NONE: Mapping[str, str] = {}  # read-only by its type; a mappingproxy cannot be pickled


INFO = 20
WARNING = 30
"""Levels of the standard library's logging, whose import takes 4 ms."""


def log(level: int, message: str, *values: object) -> None:
    """Log to the logger `hotstart`, if the program has set logging up."""
    logging = sys.modules.get("logging")
    if logging is not None and logging.getLogger("hotstart").hasHandlers():
        logging.getLogger("hotstart").log(level, message, *values)


class HistogramSnapshot(NamedTuple):
    """The buckets, sum and count of a histogram at one moment.

    Attributes:
        bounds: upper bound of each bucket but the last, which has none.
        counts: cumulative number of observations of each bucket.
        sum: sum of the observations.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def total(self) -> int:
        """The number of observations."""
        return self.counts[-1]

    def quantile(self, share: float) -> float | None:
        """Return an upper bound of the quantile `share` (0 to 1).

        None without observations; infinity beyond the last bound.
        """
        if not self.total:
            return None
        wanted = share * self.total
        place = next(i for i, count in enumerate(self.counts) if count >= wanted)
        return self.bounds[place] if place < len(self.bounds) else float("inf")


class Metric(NamedTuple):
    """One number or histogram, with name, kind, help and labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    value: float | HistogramSnapshot
    labels: Mapping[str, str] = _NONE


class Histogram:
    """Counts observations in buckets. Thread-safe."""

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

    def read(self) -> HistogramSnapshot:
        """Return a snapshot."""
        with self._lock:
            return HistogramSnapshot(self._bounds, tuple(accumulate(self._counts)), self._sum)


class Counters:
    """Counts by name. Thread-safe."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = ForkLock()

    def add(self, name: str, number: int = 1) -> None:
        """Add `number` to the count of `name`."""
        with self._lock:
            self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def items(self) -> list[tuple[str, int]]:
        """Return every name and its count, sorted by name."""
        with self._lock:
            return sorted(self._counts.items())


_LIBRARY = "opentelemetry.trace"


@contextmanager
def span(name: str, **attributes: str | int | None) -> Iterator[None]:
    """Record the block as a span called `hotstart.NAME`, with its exception."""
    if not _is_on():
        yield
        return
    known = _named(attributes)
    with _tracer().start_as_current_span(f"hotstart.{name}", attributes=known):
        yield


def here() -> Any:
    """Return the current trace context for a span of another thread; None without tracing."""
    if not _is_on():
        return None
    return require("opentelemetry.context", extra="otel").get_current()


def past(name: str, began: int, ended: int, within: Any, **attributes: str | int | None) -> Any:
    """Record a span that has ended in the context `within`; return its context.

    Args:
        name: name of the span, `hotstart.NAME`.
        began: begin in nanoseconds since the epoch.
        ended: end in nanoseconds since the epoch.
        within: the context that `here` returned; None records nothing.
        attributes: attributes of the span.
    """
    if within is None:
        return None
    known = _named(attributes)
    ended_span = _tracer().start_span(
        f"hotstart.{name}", context=within, attributes=known, start_time=began
    )
    ended_span.end(ended)
    return require(_LIBRARY, extra="otel").set_span_in_context(ended_span, within)


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Continue the trace of the request `headers` in the block."""
    if not _is_on():
        yield
        return
    context = require("opentelemetry.context", extra="otel")
    token = context.attach(require("opentelemetry.propagate", extra="otel").extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def _is_on() -> bool:
    """Return whether the program has a tracer provider."""
    trace: Any = sys.modules.get(_LIBRARY)
    if trace is None:
        return False
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _tracer() -> Any:
    return require(_LIBRARY, extra="otel").get_tracer("hotstart")


def _named(attributes: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {f"hotstart.{key}": value for key, value in attributes.items() if value is not None}
