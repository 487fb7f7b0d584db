"""Semantic ranking: the vector of the query and the nearest chunks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hotstart.errors import HotstartError
from hotstart.search.fusion import FEEDBACK, READ, legibility, moved
from hotstart.search.vectors import Vectors

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.search.store import Store, StoreState

logger = logging.getLogger(__name__)


class Nearest(NamedTuple):
    """Chunk ids with their cosine, the nearest first.

    Attributes:
        ranking: the ids and cosines.
        reason: why there is none, or why the fallback answers; None otherwise.
        cosines: those of the ranking, and of the other chunks that were asked for.
        legibility: how well the model reads the query, from 0 to 1.
        scale: the `similarity_scale` of the model, 1 if it was not measured.
        model: the model of the query's vector; None without one.
        engine: the engine of the model.
        shortfall: how many chunks lack vectors; None if none does.
    """

    ranking: list[tuple[int, float]]
    reason: str | None
    cosines: Mapping[int, float] = MappingProxyType({})
    legibility: float = 1.0
    scale: float = 1.0
    model: str | None = None
    engine: str | None = None
    shortfall: str | None = None


class Semantic:
    """Ranks chunks by the cosine to a query. Thread-safe.

    The vectors stay open between searches and are opened again when the store changes.
    """

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[StoreState, str], Vectors] | None = None

    def start(self) -> None:
        """Start loading the model in the background, if there is one."""
        if self._embedder:
            self._embedder.start_loading()

    def nearest(
        self,
        store: Store,
        query: str,
        limit: int,
        timeout: float | None,
        also: Sequence[int] = (),
        among: Collection[int] | None = None,
    ) -> Nearest:
        """Return the `limit` chunks nearest to `query`, and the cosines of the chunks `also`.

        With `among`, the nearest of these chunks.

        Return none, with a reason, if the model does not return the vector within `timeout` seconds
        or the store has no vectors. The fallback of the embedder may answer, because the index has
        its vectors too.
        """
        if self._embedder is None:
            return Nearest([], "no embedding model was given")
        if not store.has_vectors():
            return Nearest([], "the index has no vectors yet: update it with an embedding model")
        try:
            result = self._embedder.embed(
                query,
                accept_fallback=True,
                prompt_name="query",
                normalize_embeddings=True,
                convert_to_numpy=False,
                timeout=timeout,
            )
        except HotstartError as error:
            logger.info("Answering without vectors: %s", error)
            return Nearest([], error.facts)
        # The fallback says nothing of how it reads.
        told = None if result.reason else self._embedder.coverage(query[:READ])
        space = result.comparable_with or result.fingerprint
        vectors = self._vectors(store, space)
        vector = self._with_feedback(store, vectors, space, result.vectors)
        ranking = vectors.nearest(store, vector, limit, among)
        cosines = dict(ranking)
        cosines |= vectors.cosines(store, vector, [one for one in also if one not in cosines])
        return Nearest(
            ranking,
            reason=f"{result.model!r} answers: {result.reason}" if result.reason else None,
            cosines=cosines,
            legibility=1.0 if told is None else legibility(query[:READ], told),
            scale=result.similarity_scale or 1.0,
            model=result.model,
            engine=result.engine,
            shortfall=_shortfall(store.count_vectors(space), store, result.model),
        )

    def _with_feedback(
        self, store: Store, vectors: Vectors, space: str, query: Sequence[float]
    ) -> list[float]:
        """Return the vector `query`, moved towards the nearest chunks."""
        found = vectors.nearest(store, query, FEEDBACK)
        stored = store.vectors_of(space, [one for one, _ in found])
        return moved(query, [memoryview(vector).cast("f") for vector in stored.values()])

    def _vectors(self, store: Store, fingerprint: str) -> Vectors:
        key = (store.state(), fingerprint)
        with self._lock:
            if self._loaded is None or self._loaded[0] != key:
                self._loaded = None  # free the old vectors before loading the new ones
                self._loaded = (key, Vectors(store, fingerprint))
            return self._loaded[1]


def _shortfall(vectors: int, store: Store, model: str) -> str | None:
    """Return why the vectors do not cover the index; None if they do."""
    chunks = store.count_chunks()
    if vectors >= chunks:
        return None
    had = "none" if vectors == 0 else f"only {vectors}"
    return f"{had} of {chunks} chunks have vectors of {model!r} yet"
