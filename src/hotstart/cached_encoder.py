"""A model behind a cache and a prefetcher."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hotstart.cache.codec import VectorSpace
from hotstart.cache.embedding_cache import Abandoned, EmbeddingCache, Lookup
from hotstart.cache.prefetch import Prefetcher, PrefetchInfo, PrefetchRequest
from hotstart.concurrency import Deadline
from hotstart.encoding import EncodeRequest
from hotstart.engines import entry_of
from hotstart.errors import StillComputing
from hotstart.models.spec import ModelSpec
from hotstart.pool.aio import all_done, in_background, in_thread
from hotstart.pool.handle import ModelHandle
from hotstart.types import EmbedOutput, ModelInfo

if TYPE_CHECKING:
    from hotstart.telemetry import Metric

_FEW = 64  # the event loop hashes up to so many texts itself, in under 0.2 ms
_THREADS_THAT_WAIT = 16
_THREADS_THAT_COMPUTE = 1


class CacheInfo(NamedTuple):
    """Hits, misses and contents of a cache, for all embedders that share it.

    Attributes:
        hits: vectors found in a store, or being computed for another caller.
        misses: vectors that were computed.
        prefetch_hits: texts whose vector was cached or being computed because of a prefetch.
        prefetch_wasted: prefetched vectors that were never used.
        entries: cached vectors, in memory and in the far store.
        bytes: size of the cached vectors.
        damaged: values that could not be read and were computed again.
        errors: failures of the far store; each one was a miss or a vector that was not stored.
        prefetch: counts of the prefetcher.
    """

    hits: int
    misses: int
    prefetch_hits: int
    prefetch_wasted: int
    entries: int
    bytes: int
    damaged: int
    errors: int
    prefetch: PrefetchInfo


class CachedEncoder:
    """A model whose vectors are each computed once. Thread-safe."""

    def __init__(self, spec: ModelSpec, model: ModelHandle, cache: EmbeddingCache) -> None:
        self._spec = spec
        self._model = model
        self._cache = cache
        opened_from = entry_of(spec.engine).opened_from
        self._engine = "graph" if opened_from == "artifact" else spec.engine
        threads = _THREADS_THAT_WAIT if model.waits else _THREADS_THAT_COMPUTE
        self._prefetcher = Prefetcher(threads)

    def embed(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        """Return the vectors of `request`, float32 (n, dimension).

        Raises:
            NotReady: the model was not ready within `timeout` seconds; its load continues.
            StillComputing: another caller did not compute one of the vectors in time.
            HotstartError: the load or the engine failed.
        """
        deadline = Deadline(timeout)
        self._note_use(request, self._model.info(deadline.left))
        return self._obtain(request, deadline)

    async def aembed(self, request: EncodeRequest, timeout: float | None) -> EmbedOutput:
        """Await the vectors of `request`; see `embed`.

        The computation continues when the call is cancelled, because others may wait for it.
        """
        deadline = Deadline(timeout)
        while True:
            info = self._model.known_info()
            if info is None:
                info = await in_thread(self._model.info, deadline.left)
            self._note_use(request, info)
            space = self._space(request, info)
            if len(request.inputs) <= _FEW:
                lookup = self._begin(request, space)
            else:
                lookup = await in_thread(self._begin, request, space)
            if not await all_done(lookup.awaited.values(), deadline.left):
                raise StillComputing(len(request.inputs), after=timeout)
            try:
                return EmbedOutput(lookup.vectors(), info)
            except Abandoned:
                continue

    def _begin(self, request: EncodeRequest, space: VectorSpace) -> Lookup:
        """Look the texts up, and start to compute the missing ones in a worker thread."""
        lookup = self._cache.begin(request.inputs, space)
        if lookup.mine:
            in_background(True, self._fulfil_together, request, lookup)
        return lookup

    def prefetch(self, request: EncodeRequest, namespace: str, supersedes: str | None) -> None:
        """Queue the one text of `request` for the prefetcher; return at once."""
        prefetch = self._prefetch_request(request)
        stale = None if supersedes is None else prefetch._replace(text=supersedes)
        self._prefetcher.prefetch(
            prefetch, partial(self._obtain, request, Deadline(None)), namespace, stale
        )

    async def is_fetched(self, request: EncodeRequest, timeout: float | None) -> bool:
        """Return whether the one vector of `request` is cached within `timeout` seconds.

        False at once if it is neither in memory nor being computed.
        """
        end = self._prefetcher.ready(self._prefetch_request(request))
        if end is not None and not await all_done([end], timeout):
            return False
        info = self._model.known_info()
        return info is not None and self._cache.has(request.inputs, self._space(request, info))

    def info(self) -> CacheInfo:
        """Return the current counts."""
        account = self._cache.info()
        prefetched = self._prefetcher.info()
        stored = account.stores
        return CacheInfo(
            hits=account.near + account.far + account.joined,
            misses=account.computed,
            prefetch_hits=prefetched.used,
            prefetch_wasted=prefetched.wasted,
            entries=stored.entries,
            bytes=stored.bytes,
            damaged=stored.damaged,
            errors=stored.errors,
            prefetch=prefetched,
        )

    def metrics(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._cache.metrics()
        yield from self._prefetcher.metrics()

    def _obtain(self, request: EncodeRequest, deadline: Deadline) -> EmbedOutput:
        """Return the vectors, cached, awaited or computed by the model that is loaded by then."""
        while True:
            info = self._model.info(deadline.left)
            lookup = self._cache.begin(request.inputs, self._space(request, info))
            try:
                if lookup.mine:
                    self._fulfil(request, lookup, deadline.left)
                if lookup.awaited and wait(lookup.awaited.values(), deadline.left).not_done:
                    raise StillComputing(len(request.inputs), after=deadline.seconds)
                return EmbedOutput(lookup.vectors(), info)
            except Abandoned:
                continue

    def _note_use(self, request: EncodeRequest, info: ModelInfo) -> None:
        """Report used texts to the prefetcher, which counts its hits."""
        prompt = request.prompt(info)
        for text in request.inputs:
            self._prefetcher.note_use(PrefetchRequest(text, prompt))

    def _fulfil(self, request: EncodeRequest, lookup: Lookup, timeout: float | None) -> None:
        """Compute the missing vectors of `lookup` in this thread."""
        deadline = Deadline(timeout)
        with self._cache.fulfil(lookup, timeout) as work:
            for texts in work:
                part = request.part(texts, lookup.space.prompt)
                work.put(self._model.embed(part, deadline.left))

    def _fulfil_together(self, request: EncodeRequest, lookup: Lookup) -> None:
        """Compute the missing vectors of `lookup` in a batch with other calls."""
        if self._model.waits or request.runs_alone:
            self._fulfil(request, lookup, None)
            return
        with self._cache.fulfil(lookup) as work:
            for texts in work:
                part = request.part(texts, lookup.space.prompt)
                work.put(self._model.submit(part).result())

    def _space(self, request: EncodeRequest, info: ModelInfo) -> VectorSpace:
        request.check(info)
        return VectorSpace(
            source=self._spec.source,
            revision=self._spec.revision,
            fingerprint=info.fingerprint,
            engine=self._engine,
            role=request.role(info),
            prompt=request.prompt(info),
            dimensions=None,
        )

    def _prefetch_request(self, request: EncodeRequest) -> PrefetchRequest:
        """Return the prefetch of `request`; its prompt is empty if the model is not known yet."""
        info = self._model.known_info()
        return PrefetchRequest(request.inputs[0], request.prompt(info) if info else "")
