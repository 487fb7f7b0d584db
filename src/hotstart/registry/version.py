"""One version of a registered model: its instance, calls and metrics."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hotstart.concurrency import ForkLock
from hotstart.errors import HotstartError, LoadFailed, MissingExtra
from hotstart.pool.instance import Instance
from hotstart.registry.binding import Served
from hotstart.telemetry import Counters, Histogram, Metric
from hotstart.types import EmbeddingResult, State

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions
    from hotstart.scoring import RankOptions

DIFFERENCES = (0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0, 10.0)
"""Upper bounds of the difference buckets; a different label is above them all."""

_COUNTERS = {
    "calls": ("hotstart_model_calls_total", "Calls that were answered or failed"),
    "errors": ("hotstart_model_errors_total", "Calls that failed"),
    "hits": ("hotstart_model_hits_total", "Requests that found the version loaded"),
    "misses": ("hotstart_model_misses_total", "Requests that found the version not loaded"),
    "fallbacks": ("hotstart_model_fallbacks_total", "Requests that the fallback answered"),
    "shadowed": ("hotstart_model_shadow_calls_total", "Calls repeated on it as a shadow"),
    "shadow errors": ("hotstart_model_shadow_errors_total", "Repeated calls that failed"),
    "shadow dropped": (
        "hotstart_model_shadow_dropped_total",
        "Calls not repeated because the queue was full",
    ),
}


class VersionMetrics:
    """Counts and times of one version. Thread-safe."""

    def __init__(self) -> None:
        self.tally = Counters()
        self.latency = Histogram()
        self.loads = Histogram()
        self.shadow_latency = Histogram()
        self.differences = Histogram(DIFFERENCES)

    def read(self, labels: Mapping[str, str], uses: int) -> Iterator[Metric]:
        """Yield the current value of every metric under `labels`."""
        yield Metric(
            "hotstart_model_uses_total", "counter", "Times it was handed out", uses, labels
        )
        for name, (public, description) in _COUNTERS.items():
            yield Metric(public, "counter", description, self.tally[name], labels)
        histograms = (
            ("hotstart_model_latency_seconds", "Time to answer a call", self.latency),
            ("hotstart_model_load_seconds", "Time a load took", self.loads),
            (
                "hotstart_model_shadow_latency_seconds",
                "Time to answer as a shadow",
                self.shadow_latency,
            ),
            (
                "hotstart_model_shadow_difference",
                "Difference to the served answer",
                self.differences,
            ),
        )
        for public, description, histogram in histograms:
            yield Metric(public, "histogram", description, histogram.read(), labels)


class Uses:
    """A counter of uses that many threads increment.

    `count()` costs 0.05 µs and is atomic, one step of C. Reading counts too; `_reads` is
    subtracted.
    """

    def __init__(self) -> None:
        self.count = itertools.count().__next__
        self._reads = itertools.count().__next__
        self._reading = ForkLock()

    @property
    def number(self) -> int:
        """The number of calls of `count`."""
        with self._reading:
            return self.count() - self._reads()


ModelStatus = Literal["unloaded", "loading", "ready", "unloading", "failed", "skipped"]


class VersionStatus(NamedTuple):
    """The status of a version since its last change.

    Attributes:
        state: state of its instance.
        reason: reason of the state, for people.
        loaded_at: time of the serving load, in UTC.
        load_duration: seconds of that load.
        error: error of the last load or reload; None after a success.
    """

    state: State = "unloaded"
    reason: str = "not loaded yet"
    loaded_at: datetime | None = None
    load_duration: float | None = None
    error: HotstartError | None = None

    @property
    def status(self) -> ModelStatus:
        """The state, or `skipped` if an optional dependency is missing."""
        missing = self.state == "failed" and isinstance(self.error, MissingExtra)
        return "skipped" if missing else self.state


class Version:
    """One version of the model `name`. Its instance is created at first use.

    Attributes:
        model: object that callers get; None while it is not loaded.
        account: status since its last change.
        count_use: counts a use that is not a call.

    Args:
        bind: returns the version bound to its instance; called once.
        changed: called with each change, under the instance's lock.
        stepped: called with each step of a load and the fraction done, by the thread that loads.
        pinned: whether the program owns the model, so that no call waits for it.
    """

    def __init__(
        self,
        name: str,
        label: str,
        bind: Callable[[], Served],
        changed: Callable[[Version], None],
        stepped: Callable[[Version, str, float], None],
        *,
        pinned: bool = False,
    ) -> None:
        self.name = name
        self.label = label
        self._pinned = pinned
        self.model: Any = None
        self.account = VersionStatus()
        self._uses = Uses()
        self.count_use = self._uses.count
        self._bind = bind
        self._changed = changed
        self._stepped = stepped
        self._binding = threading.Lock()
        self._loads = 0
        self._served: Served | None = None

    @functools.cached_property
    def metrics(self) -> VersionMetrics:
        """Counts and times of calls and loads."""
        return VersionMetrics()

    @property
    def uses(self) -> int:
        """The number of uses."""
        return self._uses.number

    @property
    def memory(self) -> int:
        """Approximate bytes of the version; 0 while it is not loaded."""
        loaded = self.loaded
        return 0 if loaded is None else loaded.binding.size

    @property
    def loaded(self) -> Served | None:
        """The bound version; None while it is not loaded."""
        return None if self.model is None else self._served

    @property
    def instance(self) -> Instance[Any]:
        """The instance in the pool. Errors: see `served`."""
        return self.served().binding.instance

    def served(self) -> Served:
        """Return the version bound to its instance, binding it on the first call. Loads nothing.

        Raises:
            HotstartError: the version cannot be bound, for example because its kind is unknown.
        """
        if self._served is None:
            with self._binding:
                if self._served is None:
                    served = self._bound()
                    instance = served.binding.instance
                    instance.listen_states(functools.partial(self._on_state, served))
                    instance.listen(functools.partial(self._stepped, self))
                    self._served = served
        return self._served

    def _bound(self) -> Served:
        try:
            return self._bind()
        except HotstartError:
            raise
        except Exception as error:  # of another package's kind
            raise LoadFailed(self.name, error=error, retry_in=0.0) from error

    def touch(self) -> None:
        """Record a use that is not a call, so that the version is not evicted first."""
        if self._served is not None:
            self._served.binding.instance.touch()

    def start(self) -> None:
        """Start the load; return at once. An error is kept as the version's error."""
        try:
            self.instance.start()
        except HotstartError as error:
            self._note(VersionStatus("failed", error.facts, error=error))

    def wait(self, timeout: float | None = None) -> Any:
        """Return what callers get, loading the version if need be.

        Raises:
            NotReady: the version was not ready within `timeout` seconds.
            HotstartError: the load failed.
        """
        served = self.served()
        limit = None if self._pinned else timeout
        with served.binding.instance.lease(limit, texts=0) as loaded:
            return served.model(loaded)

    @contextmanager
    def lease(self, timeout: float | None = None) -> Iterator[Any]:
        """Yield what callers get, loaded for the whole block. Errors: see `wait`."""
        served = self.served()
        with served.binding.instance.lease(timeout, texts=0) as loaded:
            self.count_use()
            yield served.model(loaded)

    def predict(self, inputs: Any, timeout: float | None = None) -> Any:
        """Return the answer to `inputs`, counted and timed. Errors: see `wait` and its kind."""
        with self._counted():
            self.count_use()
            return self.served().predict(inputs, timeout)

    async def apredict(self, inputs: Any, timeout: float | None = None) -> Any:
        """Await the answer to `inputs`; see `predict`."""
        with self._counted():
            self.count_use()
            return await self.served().apredict(inputs, timeout)

    async def aembed(
        self, texts: Sequence[str], options: EncodeOptions, timeout: float | None = None
    ) -> EmbeddingResult:
        """Return the vectors of `texts`, counted and timed. Errors: see `Served.aembed`."""
        with self._counted():
            self.count_use()
            return await self.served().aembed(texts, options, timeout)

    async def arank(
        self,
        query: str,
        documents: Sequence[str],
        options: RankOptions,
        timeout: float | None = None,
    ) -> list[dict[str, Any]]:
        """Return `documents` ranked, counted and timed. Errors: see `Served.arank`."""
        with self._counted():
            self.count_use()
            return await self.served().arank(query, documents, options, timeout)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = time.perf_counter()
        self.metrics.tally.add("calls")
        try:
            yield
        except BaseException:
            self.metrics.tally.add("errors")
            raise
        finally:
            self.metrics.latency.observe(time.perf_counter() - began)

    def repeat(self, inputs: Any) -> Any:
        """Repeat a call as a shadow, counted separately; raise NotReady unless loaded."""
        began = time.perf_counter()
        self.metrics.tally.add("shadowed")
        try:
            served = self.served()
            with served.binding.instance.lease(0.0, texts=0):
                return served.predict(inputs, None)
        except BaseException:
            self.metrics.tally.add("shadow errors")
            raise
        finally:
            self.metrics.shadow_latency.observe(time.perf_counter() - began)

    def reload(self) -> None:
        """Load the version again, and replace the serving one.

        Raises:
            HotstartError: the load failed; the old one keeps serving.
        """
        try:
            self.instance.reload()
        except HotstartError as error:
            self._note(self.account._replace(error=error))
            raise

    def keep_alive(self, seconds: float | None) -> None:
        """Unload the version `seconds` after its last use; never for None."""
        self.instance.keep_alive(seconds)

    def unload(self, timeout: float | None = None) -> None:
        """Unload the version once the calls in flight have ended; see `Instance.unload`."""
        if self._served is not None:
            self._served.binding.instance.unload(timeout)

    def _on_state(self, served: Served, state: State, reason: str) -> None:
        """Record a state change. Called under the lock of the instance."""
        instance = served.binding.instance
        before = self.account
        loaded = instance.peek()
        self.model = None if loaded is None else served.model(loaded)
        if state == "failed":
            account = before._replace(error=instance.failure)
        elif state == "ready" and (loads := instance.status().loads) != self._loads:
            self._loads = loads
            load_time = instance.status().load_time or 0.0
            self.metrics.loads.observe(load_time)
            account = VersionStatus(state, reason, datetime.now(timezone.utc), load_time)
        else:
            account = before
        self._note(account._replace(state=state, reason=reason))

    def _note(self, account: VersionStatus) -> None:
        self.account = account
        self._changed(self)
