"""Vectors by key: a memory tier over a far store."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.cache.codec import StoredPrecision, decode, encode
from hotstart.cache.store import ByteStore, StoreInfo
from hotstart.concurrency import ForkLock
from hotstart.telemetry import Counters, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = dict[bytes, NDArray[np.float32]]

ENTRY_BYTES = 250
"""What an entry takes beside its floats: key, array object, place in the table."""


class MemoryTier:
    """An LRU cache of read-only vectors of up to `most_bytes`. Thread-safe; never waits."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._vectors: OrderedDict[bytes, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._evicted = 0
        self._lock = ForkLock()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Return the cached vectors of `keys` by key; they become the most recently used."""
        with self._lock:
            # No condition at the end of a loop: CPython 3.13.0 does not run the exit of the `with`
            # for a Ctrl-C in the jump back.
            present = list(filter(self._vectors.__contains__, keys))
            for key in present:
                self._vectors.move_to_end(key)
            return {key: self._vectors[key] for key in present}

    def put_many(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Store read-only copies of `vectors`."""
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
        """Return the current counts."""
        with self._lock:
            return StoreInfo(len(self._vectors), self._bytes, self._evicted, 0)

    def _drop(self, key: bytes) -> None:
        vector = self._vectors.pop(key, None)
        if vector is not None:
            self._bytes -= vector.nbytes + ENTRY_BYTES


class TieredInfo(NamedTuple):
    """Entries, bytes, evictions and errors of a tiered cache.

    Attributes:
        entries: the larger of the entries in memory and in the far store.
        bytes: the larger of their sizes.
        evicted: vectors evicted by this process.
        damaged: invalid values of the far store, which were overwritten.
        errors: failures of the far store.
    """

    entries: int
    bytes: int
    evicted: int
    damaged: int
    errors: int


class TieredCache:
    """A memory tier over a far store; vectors found far move into memory. Thread-safe."""

    def __init__(
        self,
        near: MemoryTier,
        far: ByteStore | None = None,
        precision: StoredPrecision = "float32",
    ) -> None:
        self._near = near
        self._far = far
        self._precision = precision
        self._tally = Counters()

    @property
    def is_shared(self) -> bool:
        """Whether other processes use the far store too."""
        return self._far is not None

    def near(self, keys: Sequence[bytes]) -> Vectors:
        """Return the vectors in memory. Never waits."""
        return self._near.get_many(keys)

    def get_many(self, keys: Sequence[bytes]) -> Vectors:
        """Return the vectors in memory or in the far store."""
        found = self._near.get_many(keys)
        missing = [key for key in keys if key not in found]
        if missing and self._far is not None:
            fetched = self._decoded(self._far.get_many(missing))
            self._near.put_many(fetched)
            found |= fetched
        return found

    def put_many(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Store `vectors` in memory and in the far store."""
        self._near.put_many(vectors)
        if self._far is not None and vectors:
            self._far.set_many({k: encode(v, self._precision) for k, v in vectors.items()})

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Return the keys that this process must compute; see `ByteStore.claim`."""
        if self._far is None or not keys:
            return {*keys}
        return self._far.claim(keys, seconds)

    def release(self, keys: Collection[bytes]) -> None:
        """End this process's leases on `keys`."""
        if self._far is not None and keys:
            self._far.release(keys)

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Wait until another process may have computed one of `keys`."""
        if self._far is not None:
            self._far.wait(keys, seconds)

    def info(self) -> TieredInfo:
        """Return the current counts."""
        near = self._near.info()
        far = self._far.info() if self._far else StoreInfo(0, 0, 0, 0)
        return TieredInfo(
            entries=max(near.entries, far.entries),
            bytes=max(near.bytes, far.bytes),
            evicted=near.evicted + far.evicted,
            damaged=self._tally["damaged"],
            errors=far.errors,
        )

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of contents and errors."""
        stores = {"near": self._near.info()} | ({"far": self._far.info()} if self._far else {})
        for tier, info in stores.items():
            at = {"tier": tier}
            yield Metric("hotstart_cache_entries", "gauge", "Vectors kept", info.entries, at)
            yield Metric("hotstart_cache_bytes", "gauge", "Bytes they take", info.bytes, at)
            what = "Vectors given up for newer ones"
            yield Metric("hotstart_cache_evicted_total", "counter", what, info.evicted, at)
            what = "Failures of the store"
            yield Metric("hotstart_cache_errors_total", "counter", what, info.errors, at)
        what = "Values that could not be read, and were overwritten"
        yield Metric("hotstart_cache_damaged_total", "counter", what, self._tally["damaged"])

    def close(self) -> None:
        """Close files and connections; stored vectors stay."""
        if self._far is not None:
            self._far.close()

    def _decoded(self, values: Mapping[bytes, bytes]) -> Vectors:
        vectors = {key: decode(raw) for key, raw in values.items()}
        found = {key: vector for key, vector in vectors.items() if vector is not None}
        self._tally.add("damaged", len(vectors) - len(found))
        return found
