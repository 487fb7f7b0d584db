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

_OURS = b"langchain:"  # so that an embedder's vectors can share the store


class HotstartEmbeddings(Embeddings):
    """An embedding model for LangChain. The constructor loads nothing; it is thread-safe.

    Args:
        model: name or folder of the model, see `Embedder`.
        options: options of `Embedder`, for example `strategy`, `truncate_dim` or `cache`.

    Attributes:
        embedder: the `Embedder`, for example to load it early or to use its `fingerprint` as the
            namespace of a cache.
    """

    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        self.embedder = Embedder(model, **options)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vector of each document."""
        return self.embedder.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return self.embedder.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Await the vectors of documents; see `embed_documents`."""
        return await document_vectors(self.embedder, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Await the vector of a question; see `embed_query`."""
        return await query_vector(self.embedder, text)


class HotstartByteStore(BaseStore[str, bytes]):
    """A LangChain store of bytes by key in SQLite or Redis.

    A store for reproducible values: it evicts the least recently used ones when full, a failed read
    is a miss, and a failed write is dropped. Threads and processes may share one store.

    Args:
        url: `sqlite:FILE` or `redis://HOST:PORT/0`, see `Embedder(cache=...)`.

    Raises:
        InvalidInput: the address is invalid.
        MissingExtra: the store's library is not installed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store = open_store(url)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._url,)

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the value of each key; None for an absent key."""
        names = [_name(key) for key in keys]
        found = self._store.get_many(names)
        return [found.get(name) for name in names]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Store each value under its key."""
        self._store.set_many({_name(key): value for key, value in key_value_pairs})

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the keys."""
        self._store.delete_many([_name(key) for key in keys])

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys that begin with `prefix`."""
        for name in self._store.keys(_name(prefix or "")):
            yield name.removeprefix(_OURS).decode()

    def close(self) -> None:
        """Close the file or connection; stored values stay."""
        self._store.close()


def _name(key: str) -> bytes:
    return _OURS + key.encode()
