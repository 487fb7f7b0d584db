"""What an embedder does ahead of the question: vectors kept, and vectors prefetched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hotstart.encoding import Encoding
from hotstart.models.spec import ModelSpec
from hotstart.pool.handle import Model

if TYPE_CHECKING:
    from hotstart.cache.embedding_cache import EmbeddingCache
    from hotstart.cached_encoder import CacheInfo, Recall
    from hotstart.telemetry import Figure

_FIRST_CACHE = "memory:64MB"


class Ahead:
    """The part of an embedder that has a cache; one in memory is begun by the first prefetch."""

    def __init__(self, spec: ModelSpec, model: Model, cache: str | EmbeddingCache | None) -> None:
        self._spec = spec
        self._model = model
        self._recall = None if cache is None else self._recalled(cache)

    def prefetch(
        self,
        text: str,
        *,
        namespace: str = "",
        supersedes: str | None = None,
        prompt_name: str | None = None,
    ) -> None:
        """Have the vector of `text` made behind other work, and kept; return at once.

        A text that is on its way already is not fetched twice. The newest goes first; where more
        than 64 wait, the oldest is dropped. Without a `cache`, one of 64 MB in memory is begun.

        Args:
            text: what will be asked for.
            namespace: what it is for: figures are told for each.
            supersedes: a text that nobody will ask for any more, as of partial speech; it is
                dropped if its turn has not come.
            prompt_name: as it will be asked for.
        """
        self._ahead.prefetch(Encoding(text, prompt_name=prompt_name), namespace, supersedes)

    async def wait_for_prefetch(
        self, text: str, *, prompt_name: str | None = None, timeout: float | None = None
    ) -> bool:
        """Return whether the vector of `text` is there within `timeout` seconds.

        False at once where it was not asked for ahead, and false where it could not be made.
        """
        return await self._ahead.is_fetched(Encoding(text, prompt_name=prompt_name), timeout)

    @property
    def has_cache(self) -> bool:
        """Whether vectors are kept."""
        return self._recall is not None

    def cache_info(self) -> CacheInfo:
        """Return what cache and prefetch were good for so far."""
        return self._ahead.info()

    def figures(self) -> Iterator[Figure]:
        """Yield every count and time that is kept of this embedder, as it is now."""
        if self._recall:
            yield from self._recall.figures()
        yield from self._model.figures()

    @property
    def _ahead(self) -> Recall:
        if self._recall is None:
            self._recall = self._recalled(_FIRST_CACHE)
        return self._recall

    def _recalled(self, cache: str | EmbeddingCache) -> Recall:
        from hotstart.cache.embedding_cache import (
            EmbeddingCache,  # who keeps nothing need not import it
        )
        from hotstart.cached_encoder import Recall

        kept = EmbeddingCache.shared(cache) if isinstance(cache, str) else cache
        return Recall(self._spec, self._model, kept)
