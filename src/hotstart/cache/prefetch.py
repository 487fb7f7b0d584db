"""Compute vectors ahead of their use, the newest text first."""

from __future__ import annotations

import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import NamedTuple

from hotstart.concurrency import IdleThreads, reset_after_fork
from hotstart.telemetry import Histogram, Metric

logger = logging.getLogger(__name__)

Fetch = Callable[[], object]
"""Gets a vector into the cache."""

MOST_WAITING = 64
"""Texts that wait at most; a newer one takes the place of the oldest."""

_MOST_REMEMBERED = 4096  # unused vectors to remember; older ones count as wasted
_IDLE_SECONDS = 5.0  # seconds after which an idle thread ends


class PrefetchRequest(NamedTuple):
    """A text to prefetch, with its prompt."""

    text: str
    prompt: str


class PrefetchInfo(NamedTuple):
    """The outcomes of prefetched texts.

    Attributes:
        requested: prefetches of texts that were neither cached nor being computed.
        used: texts used later, when their vector was cached or being computed.
        late: texts used while they still waited.
        wasted: texts computed and not used: superseded, or too old.
        superseded: texts replaced by a newer text while they waited.
        dropped: texts dropped because too many waited.
        failed: texts whose computation failed; the later call raises the error.
        unused: texts computed and not used yet.
        waiting: texts that wait now.
        running: texts being computed now.
    """

    requested: int
    used: int
    late: int
    wasted: int
    superseded: int
    dropped: int
    failed: int
    unused: int
    waiting: int
    running: int


class _Job:
    def __init__(self, request: PrefetchRequest, fetch: Fetch, namespace: str) -> None:
        self.request = request
        self.fetch = fetch
        self.namespace = namespace
        self.since = time.monotonic()
        self.ready: Future[None] = Future()
        self.used = False
        self.stale = False


class Prefetcher:
    """Computes texts in up to `threads` threads. Thread-safe."""

    def __init__(self, threads: int) -> None:
        self._most_threads = threads
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the threads exist in the parent only."""
        self._threads = IdleThreads("hotstart-prefetch", self._most_threads, _IDLE_SECONDS)
        self._changed = self._threads.changed
        self._waiting: OrderedDict[PrefetchRequest, _Job] = OrderedDict()
        self._running: dict[PrefetchRequest, _Job] = {}
        self._unused: OrderedDict[PrefetchRequest, str] = OrderedDict()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._ready_after = Histogram()

    def prefetch(
        self,
        request: PrefetchRequest,
        fetch: Fetch,
        namespace: str = "",
        supersedes: PrefetchRequest | None = None,
    ) -> None:
        """Queue `fetch` for `request`; return at once.

        Drop the request that it `supersedes` if that still waits.
        """
        with self._changed:
            if supersedes is not None and supersedes != request:
                self._supersede(supersedes)
            if request in self._waiting or request in self._running or request in self._unused:
                return
            self._count("requested", namespace)
            self._waiting[request] = _Job(request, fetch, namespace)
            if len(self._waiting) > MOST_WAITING:
                self._drop(next(iter(self._waiting)), "dropped")
            self._threads.wake(self._work)

    def note_use(self, request: PrefetchRequest) -> None:
        """Record that `request` is used now."""
        with self._changed:
            if request in self._unused:
                self._count("used", self._unused.pop(request))
            elif request in self._running and not self._running[request].used:
                self._running[request].used = True
                self._count("used", self._running[request].namespace)
            elif request in self._waiting:
                self._drop(request, "late")

    def ready(self, request: PrefetchRequest) -> Future[None] | None:
        """Return the future of `request`; None if it is not being prefetched."""
        with self._changed:
            job = self._waiting.get(request) or self._running.get(request)
            return job.ready if job else None

    def info(self) -> PrefetchInfo:
        """Return the counts over all namespaces."""
        with self._changed:
            sums: Counter[str] = Counter()
            for (name, _), count in self._counts.items():
                sums[name] += count
            sums["unused"] = len(self._unused)
            sums["waiting"] = len(self._waiting)
            sums["running"] = len(self._running)
            return PrefetchInfo(**{name: sums[name] for name in PrefetchInfo._fields})

    def metrics(self) -> Iterator[Metric]:
        """Yield the counts by outcome and namespace, and the time until a vector was ready."""
        with self._changed:
            counts = dict(self._counts)
        for (outcome, namespace), count in sorted(counts.items()):
            labels = {"outcome": outcome, "namespace": namespace}
            what = "Prefetched texts, by outcome"
            yield Metric("hotstart_prefetch_total", "counter", what, count, labels)
        what = "Seconds from the prefetch to its vector"
        ready_after = self._ready_after.read()
        yield Metric("hotstart_prefetch_ready_seconds", "histogram", what, ready_after)

    def _work(self) -> None:
        while job := self._next():
            failure = None
            try:
                job.fetch()
            except Exception as error:  # noqa: BLE001 - the question itself will be told
                logger.info("Not prefetched: %s", error)
                failure = error
            self._end(job, failure)

    def _next(self) -> _Job | None:
        """Return the newest waiting text; None if this thread must end."""
        with self._changed:
            if not self._threads.wait_for_work(lambda: self._waiting):
                return None
            request, job = self._waiting.popitem()
            self._running[request] = job
            return job

    def _end(self, job: _Job, failure: Exception | None) -> None:
        with self._changed:
            del self._running[job.request]
            if failure is not None:
                self._count("failed", job.namespace)
            else:
                self._ready_after.observe(time.monotonic() - job.since)
                self._note_fetched(job)
        if failure is None:
            job.ready.set_result(None)
        else:
            job.ready.set_exception(failure)

    def _note_fetched(self, job: _Job) -> None:
        if job.stale and not job.used:
            self._count("wasted", job.namespace)
        elif not job.used:
            self._unused[job.request] = job.namespace
            if len(self._unused) > _MOST_REMEMBERED:
                self._count("wasted", self._unused.popitem(last=False)[1])

    def _supersede(self, request: PrefetchRequest) -> None:
        if request in self._waiting:
            self._drop(request, "superseded")
        elif request in self._running:  # it runs on: the result serves a later call
            self._running[request].stale = True
        elif request in self._unused:
            self._count("wasted", self._unused.pop(request))

    def _drop(self, request: PrefetchRequest, outcome: str) -> None:
        job = self._waiting.pop(request)
        self._count(outcome, job.namespace)
        job.ready.cancel()

    def _count(self, outcome: str, namespace: str) -> None:
        self._counts[outcome, namespace] += 1
