"""One embedder for a whole program: begun at its start, asked for wherever it is needed."""

from __future__ import annotations

import threading

from hotstart.embedder import DEFAULT_MODEL, Embedder
from hotstart.errors import HotstartError

_lock = threading.Lock()
_provider: list[Embedder] = []  # empty until the first call decides


def preload_embeddings(model: str = DEFAULT_MODEL, *, strategy: str = "progressive") -> None:
    """Begin to load the program's embedder in the background; return in under a millisecond.

    The first call, of this or of `get_embedding_provider`, decides model and strategy.
    """
    _get(model, strategy).load()


def get_embedding_provider(timeout: float | None = None) -> Embedder | None:
    """Return the program's embedder, the same everywhere, once it is ready.

    None where its load failed, or did not end within `timeout` seconds.
    """
    embedder = _get(DEFAULT_MODEL, "progressive")
    try:
        return embedder if embedder.wait(timeout) else None
    except HotstartError:
        return None


def _get(model: str, strategy: str) -> Embedder:
    with _lock:
        if not _provider:
            _provider.append(Embedder(model, strategy=strategy))
        return _provider[0]
