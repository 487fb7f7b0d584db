"""Vectors in the memory of this process, the least recently used given up first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hotstart.cache.store import StoreInfo
from hotstart.concurrency import ForkLock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENTRY_BYTES = 250
"""What an entry takes beside its floats: key, array object, place in the table."""


class MemoryTier:
    """Keeps vectors, read-only, up to `most_bytes`. Safe from any thread; never waits."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._vectors: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._evicted = 0
        self._lock = ForkLock()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Return those of the vectors that are here; they are now the most recently used."""
        found = {}
        with self._lock:
            for key in keys:
                vector = self._vectors.get(key)
                if vector is not None:
                    self._vectors.move_to_end(key)
                    found[key] = vector
        return found

    def put_many(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keep copies of `vectors` that nobody can write to."""
        for key, vector in vectors.items():
            own = vector.copy()
            own.flags.writeable = False
            with self._lock:
                self._drop(key)
                self._vectors[key] = own
                self._bytes += own.nbytes + ENTRY_BYTES
                while self._bytes > self._most_bytes:
                    self._drop(next(iter(self._vectors)))
                    self._evicted += 1

    def info(self) -> StoreInfo:
        """Return the counts of this moment."""
        with self._lock:
            return StoreInfo(len(self._vectors), self._bytes, self._evicted, 0)

    def _drop(self, key: bytes) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self._bytes -= vector.nbytes + ENTRY_BYTES
