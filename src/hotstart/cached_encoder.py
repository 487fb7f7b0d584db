"""A model's vectors by way of a cache: found, awaited or computed; and fetched ahead."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hotstart.cache.codec import Space
from hotstart.cache.embedding_cache import Abandoned, Compute, EmbeddingCache, OtherSpace
from hotstart.cache.prefetch import Ask, Prefetcher, PrefetchInfo
from hotstart.concurrency import Deadline
from hotstart.encoding import EncodeRequest
from hotstart.engines import entry_of
from hotstart.errors import StillComputing
from hotstart.models.spec import ModelSpec
from hotstart.pool.aio import all_done, in_background, in_thread
from hotstart.pool.handle import ModelHandle
from hotstart.types import EmbedOutput, ModelInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotstart.telemetry import Metric

_FEW = 64  # texts whose names the event loop may compute itself, in under 0.2 ms
_THREADS_THAT_WAIT = 16
_THREADS_THAT_COMPUTE = 1


class CacheInfo(NamedTuple):
    """What the cache was good for. `hits` and `misses` are of every embedder that shares it.

    Attributes:
        hits: vectors found near or far, or being computed for somebody else already.
        misses: vectors that were computed.
        prefetch_hits: questions whose vector was there, or on its way, because of a prefetch.
        prefetch_wasted: vectors that were prefetched and not asked for.
        entries: vectors kept, near and far.
        bytes: of them.
        damaged: values that could not be read, and were computed anew.
        errors: failures of the far store; each was a miss, or a vector that was not kept.
        prefetch: the whole account of prefetches.
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
    """The vectors of `model`, each computed once. Safe from any thread."""

    def __init__(self, spec: ModelSpec, model: ModelHandle, cache: EmbeddingCache) -> None:
        self._spec = spec
        self._model = model
        self._cache = cache
        self._waits = entry_of(spec.engine).waits
        threads = _THREADS_THAT_WAIT if self._waits else _THREADS_THAT_COMPUTE
        self._prefetcher = Prefetcher(threads)

    def vectors(self, encoding: EncodeRequest, timeout: float | None) -> EmbedOutput:
        """Return the vectors of `encoding`, float32 (n, dimension), and whose they are.

        Raises:
            NotReady: the model was not ready within `timeout` seconds; its load goes on.
            StillComputing: others were computing one of them and were not done in time.
            HotstartError: the load or the engine failed.
        """
        deadline = Deadline(timeout)
        while True:
            card = self._model.card(deadline.left)
            space = self._space(encoding, card)
            self._note_asked(encoding, space)
            compute = self._compute(encoding, space, deadline)
            try:
                texts = encoding.texts
                return EmbedOutput(self._cache.vectors(texts, space, compute, deadline.left), card)
            except OtherSpace:
                continue

    async def avectors(self, encoding: EncodeRequest, timeout: float | None) -> EmbedOutput:
        """Do what `vectors` does without holding up the event loop.

        What was begun goes on when this is cancelled or gives up: others may wait for it too.
        """
        deadline = Deadline(timeout)
        while True:
            card = self._model.known_info()
            if card is None:
                card = await in_thread(self._model.card, deadline.left)
            space = self._space(encoding, card)
            self._note_asked(encoding, space)
            begin = partial(self._cache.begin, encoding.texts, space)
            request = begin() if len(encoding.texts) <= _FEW else await in_thread(begin)
            if request.mine:
                compute = self._together(encoding, space)
                in_background(True, self._cache.fulfil, request, space, compute)
            if not await all_done(request.awaited.values(), deadline.left):
                raise StillComputing(len(encoding.texts), after=timeout)
            try:
                return EmbedOutput(request.vectors(), card)
            except Abandoned:
                continue

    def prefetch(self, encoding: EncodeRequest, namespace: str, supersedes: str | None) -> None:
        """Have the one text of `encoding` fetched behind other work; return at once."""
        ask = self._ask(encoding)
        stale = None if supersedes is None else ask._replace(text=supersedes)
        self._prefetcher.prefetch(ask, partial(self._fetch, encoding), namespace, stale)

    async def is_fetched(self, encoding: EncodeRequest, timeout: float | None) -> bool:
        """Return whether the one vector of `encoding` is there within `timeout` seconds.

        False at once where it is neither kept near nor on its way.
        """
        end = self._prefetcher.ready(self._ask(encoding))
        if end is not None and not await all_done([end], timeout):
            return False
        card = self._model.known_info()
        return card is not None and self._cache.has(encoding.texts, self._space(encoding, card))

    def info(self) -> CacheInfo:
        """Return the counts as they are now."""
        account, asked = self._cache.info(), self._prefetcher.info()
        kept = account.kept
        return CacheInfo(
            hits=account.near + account.far + account.joined,
            misses=account.computed,
            prefetch_hits=asked.used,
            prefetch_wasted=asked.wasted,
            entries=kept.entries,
            bytes=kept.bytes,
            damaged=kept.damaged,
            errors=kept.errors,
            prefetch=asked,
        )

    def metrics(self) -> Iterator[Metric]:
        """Yield every count and time."""
        yield from self._cache.metrics()
        yield from self._prefetcher.metrics()

    def _fetch(self, encoding: EncodeRequest) -> None:
        space = self._space(encoding, self._model.card())
        compute = self._compute(encoding, space, Deadline(None))
        self._cache.vectors(encoding.texts, space, compute, None)

    def _space(self, encoding: EncodeRequest, card: ModelInfo) -> Space:
        encoding.check(card)
        entry = entry_of(self._spec.engine)
        return Space(
            source=self._spec.source,
            revision=self._spec.revision,
            fingerprint=card.fingerprint,
            engine="graph" if entry.opened_from == "artifact" else self._spec.engine,
            role=encoding.role(card),
            prompt=encoding.prompt(card),
            dimensions=None,
        )

    def _compute(self, encoding: EncodeRequest, space: Space, deadline: Deadline) -> Compute:
        def compute(texts: Sequence[str]) -> EmbedOutput:
            prompted = [space.prompt + text for text in texts]
            return self._model.embed(
                len(texts), lambda card: prompted, encoding.batch_size, deadline.left
            )

        return compute

    def _together(self, encoding: EncodeRequest, space: Space) -> Compute:
        """The same, run together with other calls, for whose end its thread waits."""
        if self._waits or encoding.runs_alone:
            return self._compute(encoding, space, Deadline(None))

        def compute(texts: Sequence[str]) -> EmbedOutput:
            prompted = [space.prompt + text for text in texts]
            return self._model.submit(lambda card: prompted, prompted).result()

        return compute

    def _note_asked(self, encoding: EncodeRequest, space: Space) -> None:
        for text in encoding.texts:
            self._prefetcher.asked(Ask(text, space.prompt))

    def _ask(self, encoding: EncodeRequest) -> Ask:
        """The prompt is told where the model is known enough to tell it without waiting."""
        card = self._model.known_info()
        return Ask(encoding.texts[0], encoding.prompt(card) if card else "")
