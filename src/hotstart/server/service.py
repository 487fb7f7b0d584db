"""What the routes share: registry, limits, request metrics, graceful shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from hotstart.errors import IndexMissing, InvalidInput
from hotstart.pool.aio import in_thread
from hotstart.registry.config import check_name
from hotstart.registry.registry import ModelRegistry
from hotstart.server.config import ServerConfig, read_server
from hotstart.server.events import Events, Timeline
from hotstart.telemetry import Counters, Histogram, Metric
from hotstart.types import EmbeddingResult

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions
    from hotstart.registry.model import RegisteredModelInfo
    from hotstart.scoring import RankOptions
    from hotstart.search.index import SearchIndex
    from hotstart.server.schemas import Body

logger = logging.getLogger(__name__)

_QUIET = 0.25  # seconds without a request before the server stops listening
_LONGEST = 3.0  # seconds after the signal in which new requests are accepted

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class GracefulShutdown:
    """Answers accepted requests between the signal and the end.

    Attributes:
        begun: whether the end has begun.
    """

    def __init__(self) -> None:
        self.begun = False
        self._under_way = 0
        self._last = time.monotonic()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, begins: Callable[[], None]) -> None:
        """Call `begins` in the event loop when the shutdown begins."""
        self._listeners.append(begins)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the block as a request."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._last = time.monotonic()

    def open(self) -> None:
        """Accept requests, also after an earlier shutdown."""
        self.begun = False

    def begin(self) -> None:
        """Begin the shutdown; call this in the event loop."""
        if not self.begun:
            self.begun = True
            for begins in self._listeners:
                begins()

    def on_signals(self) -> None:
        """Drain on the signals that end the process, then restore their effect.

        A second signal ends the process at once.
        """
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            for each, handler in before.items():
                signal.signal(each, handler)
            loop.call_soon_threadsafe(self._drain, loop, before[signal.Signals(number)], number)

        for number in _SIGNALS:
            signal.signal(number, handle)

    def _drain(self, loop: asyncio.AbstractEventLoop, end: Any, number: int) -> None:
        self.begin()
        latest = time.monotonic() + _LONGEST

        def look() -> None:
            idle = time.monotonic() - self._last if not self._under_way else 0.0
            if idle >= _QUIET or time.monotonic() >= latest:
                if callable(end):
                    end(number, None)
            else:
                loop.call_later(_QUIET - idle, look)

        loop.call_later(_QUIET, look)


class RequestMetrics:
    """Counts and times of each route. Thread-safe."""

    def __init__(self) -> None:
        self._latency: dict[str, Histogram] = {}
        self._tallies: dict[str, Counters] = {}  # by HTTP status

    def note(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered with `status` after `seconds`."""
        if route not in self._latency:
            self._tallies[route] = Counters()
            self._latency[route] = Histogram()
        self._tallies[route].add(str(status))
        self._latency[route].observe(seconds)

    def metrics(self) -> Iterator[Metric]:
        """Yield the current value of every metric."""
        for route, histogram in list(self._latency.items()):
            for status, number in self._tallies[route].items():
                yield Metric(
                    name="hotstart_http_requests_total",
                    kind="counter",
                    help="Requests answered",
                    value=number,
                    labels={"route": route, "status": status},
                )
            yield Metric(
                name="hotstart_http_request_seconds",
                kind="histogram",
                help="Time to answer a request",
                value=histogram.read(),
                labels={"route": route},
            )

    def summary(self) -> list[dict[str, Any]]:
        """Return the count, errors and latency of each route."""
        snapshots = {route: each.read() for route, each in list(self._latency.items())}
        return [
            {
                "route": route,
                "count": snapshot.total,
                "errors": sum(
                    number for status, number in self._tallies[route].items() if status >= "400"
                ),
                "p50": snapshot.quantile(0.5),
                "p99": snapshot.quantile(0.99),
                "latency": snapshot._asdict(),
            }
            for route, snapshot in snapshots.items()
        ]


class Service:
    """What the routes share: a registry and how it is served.

    Attributes:
        started: time in seconds since the epoch.
        has_begun: whether a model was ready since then, or every load has ended.
    """

    def __init__(self, registry: ModelRegistry, config: ServerConfig) -> None:
        self.registry = registry
        self.config = config
        self.started = time.time()
        self.has_begun = False
        self.metrics, self.timeline, self.draining = (
            RequestMetrics(),
            Timeline(),
            GracefulShutdown(),
        )
        self.events = Events()
        self.draining.listen(self.events.close)
        self._index: SearchIndex | None = None
        self._loading: asyncio.Task[Any] | None = None
        registry.on_change(self._changed)
        registry.on_progress(self._stepped)

    # Lifespan ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start loading the models; return at once.

        Raises:
            HotstartError: a configured model does not exist.
        """
        self.events.open()
        self.draining.open()
        if self.config.index_model is not None:
            self.info(self.config.index_model, "embedding")
        chosen = self.config.models
        names = list(self.registry.models()) if chosen is None else list(chosen)
        for name in names:
            self.registry.info(name)
        self._loading = asyncio.create_task(self._load(names))
        if self.config.searches:
            await in_thread(self._look_at_index, waits=True)

    async def close(self) -> None:
        """Stop waiting for the loads, and end every event stream."""
        self.draining.begin()
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading

    async def _load(self, names: list[str]) -> None:
        await self.registry.aload_selected(names)
        self.has_begun = True

    # Models -------------------------------------------------------------------------------------

    def info(self, name: str | None, kind: str | None = None) -> RegisteredModelInfo:
        """Return the status of a model; without a name, of the first model of that kind.

        Raises:
            InvalidInput: the name is invalid, or the model has another kind.
            UnknownModel: no model has that name.
        """
        if name is None:
            infos = self.registry.models().values()
            first = next((info for info in infos if info.kind == kind), None)
            if first is None:
                raise InvalidInput("model", got=name, expected=f"a {kind} model in the registry")
            return first
        check_name(name)
        info = self.registry.info(self.registry.resolve(name))
        if kind is not None and info.kind != kind:
            got = f"{name}, which is of the kind {info.kind}"
            raise InvalidInput("model", got=got, expected=f"a model of the kind {kind}")
        return info

    def limit(self, timeout: float | None) -> float:
        """Return `timeout`, bounded by the limit of the server."""
        longest = self.config.timeout
        return longest if timeout is None else min(timeout, longest)

    def keep(self, name: str, body: Body) -> None:
        """Set the keep-alive of a model to that of the request."""
        if body.keep_alive is not None:
            seconds = None if body.keep_alive < 0 else body.keep_alive
            self.registry.keep_alive(name, seconds)

    async def embed(
        self, name: str, body: Body, texts: Sequence[str], options: EncodeOptions
    ) -> EmbeddingResult:
        """Return the vectors of `texts`, a Matrix, within the timeouts of request and server."""
        self.keep(name, body)
        limit = self.limit(body.timeout)
        options = {**options, "convert_to_numpy": None}
        prediction = await self.registry.aembed(name, texts, options, timeout=limit)
        result: EmbeddingResult = prediction.output
        return result

    async def rank(
        self, name: str, body: Body, query: str, documents: Sequence[str], options: RankOptions
    ) -> list[dict[str, Any]]:
        """Return the positions and scores of `documents`, best first, within the timeouts."""
        self.keep(name, body)
        limit = self.limit(body.timeout)
        prediction = await self.registry.arank(name, query, documents, options, timeout=limit)
        ranking: list[dict[str, Any]] = prediction.output
        return ranking

    def check_texts(self, texts: list[str], where: str) -> None:
        """Raise InvalidInput for more or longer texts than the limits allow."""
        most = self.config.max_texts
        longest = self.config.max_characters
        if not texts:
            raise InvalidInput(where, got=[], expected="at least one text")
        if len(texts) > most:
            raise InvalidInput(where, got=f"{len(texts)} texts", expected=f"at most {most}")
        for position, text in enumerate(texts):
            if len(text) > longest:
                got = f"a text of {len(text)} characters at {position}"
                raise InvalidInput(where, got=got, expected=f"at most {longest} characters a text")

    def refuse_long_texts(self, name: str, texts: Sequence[str]) -> None:
        """Raise InvalidText for a text that the model `name` would cut."""
        self.registry.handle(name).check_lengths(texts, timeout=self.limit(None))

    def check_inputs(self, inputs: Any) -> None:
        """Raise InvalidInput for more inputs or longer texts than the limits allow."""
        most = self.config.max_texts
        longest = self.config.max_characters
        waiting = [inputs]
        if isinstance(inputs, (list, dict)) and len(inputs) > most:
            raise InvalidInput("inputs", got=f"{len(inputs)} inputs", expected=f"at most {most}")
        while waiting:
            each = waiting.pop()
            if isinstance(each, str) and len(each) > longest:
                got = f"a text of {len(each)} characters"
                raise InvalidInput("inputs", got=got, expected=f"at most {longest} characters")
            if isinstance(each, list):
                waiting += each
            elif isinstance(each, dict):
                waiting += [*each, *each.values()]

    # Search -------------------------------------------------------------------------------------

    @property
    def index(self) -> SearchIndex:
        """The index to search. Raises IndexMissing without a configured index."""
        if self._index is None:
            self._index = self._open_index(self._embedder())
        return self._index

    def _open_index(self, embedder: Any = None) -> SearchIndex:
        from hotstart.search.index import SearchIndex

        folder, store = self.config.index, self.config.index_store
        if folder is not None:
            return SearchIndex(folder, embedder, store)
        if store is None:
            raise IndexMissing(None)
        return SearchIndex.stored(store, embedder)

    def keep_searching(self, body: Body) -> None:
        """Set the keep-alive of the search model to that of the request."""
        if body.keep_alive is not None:
            self.keep(self.info(self.config.index_model, "embedding").name, body)

    def _embedder(self) -> Any:
        """Return the model for semantic search; None for lexical search alone."""
        try:
            name = self.info(self.config.index_model, "embedding").name
        except InvalidInput:
            if self.config.index_model is not None:
                raise
            return None
        return self.registry.handle(name)

    def _look_at_index(self) -> None:
        """Log a missing index; it may still be made while the server runs."""
        store = self.config.index_store
        try:
            exists = self._open_index().exists
        except IndexMissing:
            exists = False
        if not exists:
            kept = f" --store {store}" if store else ""
            remedy = f"hotstart index {self.config.index or 'FOLDER'}{kept}"
            logger.warning("/search has no index until you run: %s", remedy)

    # Status -------------------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """`healthy`, `degraded`, `loading` or `down`; `draining` at the end."""
        if self.draining.begun:
            return "draining"
        return overall([info.status for info in self.registry.models().values()])

    @property
    def is_ready(self) -> bool:
        """Whether any model can answer now."""
        statuses = [info.status for info in self.registry.models().values()]
        answers = not statuses or "ready" in statuses or self._rests(statuses)
        return answers and not self.draining.begun

    def _rests(self, statuses: Sequence[str]) -> bool:
        """Whether models are merely unloaded and load on request."""
        return self.has_begun and "unloaded" in statuses

    def _changed(self, change: Any) -> None:
        self.timeline.change(change)
        self.has_begun = self.has_begun or change.status == "ready"
        state = {
            "model": change.name,
            "version": change.version,
            "status": change.status,
            "reason": change.reason,
            "at": change.at,
        }
        self.events.publish("state", state)

    def _stepped(self, step: Any) -> None:
        elapsed = self.timeline.step(step)
        progress = {
            "model": step.name,
            "version": step.version,
            "stage": step.stage,
            "fraction": step.fraction,
            "elapsed": elapsed,
        }
        self.events.publish("progress", progress)


def overall(statuses: Sequence[str]) -> str:
    """Return the status of a service from the `statuses` of its models."""
    broken = any(status in {"failed", "skipped"} for status in statuses)
    if broken:
        return "degraded" if {"ready", "loading", "unloaded"} & set(statuses) else "down"
    return "loading" if "loading" in statuses else "healthy"


_services: weakref.WeakValueDictionary[int, Service] = weakref.WeakValueDictionary()
"""By identity of the registry, which keeps its service alive as a listener."""


def service_of(registry: ModelRegistry, config: ServerConfig | None = None) -> Service:
    """Return the service of `registry`, which its router and lifespan share.

    Without a `config`, use the defaults of `ServerConfig` and the keys of the environment.
    """
    service = _services.get(id(registry))
    if service is None:
        service = _services[id(registry)] = Service(registry, config or read_server({}))
    elif config is not None:
        service.config = config
    return service
