"""LangChain's `Embeddings` and `ByteStore`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from hotstart._lazy import brought_by
from hotstart.cache import open_store
from hotstart.embedder import DEFAULT_MODEL, Embedder
from hotstart.integrations import document_vectors, query_vector

with brought_by("langchain", "langchain_core"):
    from langchain_core.embeddings import Embeddings
    from langchain_core.stores import BaseStore

_OURS = b"langchain:"  # so that vectors kept by an embedder may lie in the same place


class HotstartEmbeddings(Embeddings):
    """An embedding model for LangChain. Making one loads nothing; any thread may use it.

    Args:
        model: a model's name or folder, as `Embedder` takes it.
        options: of `Embedder`, as `strategy`, `truncate_dim` or `cache`.

    Attributes:
        embedder: what computes the vectors: to load it ahead, or to ask for its `fingerprint`, the
            namespace under which vectors may be kept.
    """

    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        self.embedder = Embedder(model, **options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each text that is asked about."""
        return self.embedder.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self.embedder.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Do what `embed_documents` does without blocking the event loop."""
        return await document_vectors(self.embedder, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Do what `embed_query` does without blocking the event loop."""
        return await query_vector(self.embedder, text)


class HotstartByteStore(BaseStore[str, bytes]):
    """Stores bytes by key in SQLite or Redis.

    A place for what can be had again: the least recently used is given up where the place is full,
    what cannot be read is not there, and what cannot be written is not kept. Threads and processes
    may share one place.

    Args:
        url: `sqlite:FILE` or `redis://HOST:PORT/0`, as `Embedder(cache=...)` takes it.

    Raises:
        InvalidInput: the address cannot be read.
        MissingExtra: the store's library is not installed.
    """

    def __init__(self, url: str) -> None:
        self._store = open_store(url)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return what is kept under each key, None if there is nothing."""
        names = [_name(key) for key in keys]
        found = self._store.get_many(names)
        return [found.get(name) for name in names]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Keep each value under its key, in the place of what was there."""
        self._store.set_many({_name(key): value for key, value in key_value_pairs})

    def mdelete(self, keys: Sequence[str]) -> None:
        """Remove what is kept under each key."""
        self._store.delete_many([_name(key) for key in keys])

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self._store.keys(_name(prefix or "")):
            yield name.removeprefix(_OURS).decode()

    def close(self) -> None:
        """Close the file or connection; what is kept stays."""
        self._store.close()


def _name(key: str) -> bytes:
    return _OURS + key.encode()
