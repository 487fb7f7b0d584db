"""Vectors by key: a memory tier over a far store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from hotstart.cache.codec import StoredPrecision, decode, encode
from hotstart.cache.store import ByteStore, StoreInfo
from hotstart.concurrency import ForkLock, reset_after_fork
from hotstart.telemetry import Counters, Metric

T = TypeVar("T")

Rows = dict[bytes, bytes]
"""Vectors by key: the bytes of float32 numbers, as this machine stores them."""

ENTRY_BYTES = 250
"""What an entry takes beside its floats: key, object, place in the table."""


class MemoryTier:
    """An LRU cache of read-only vectors of up to `most_bytes`. Thread-safe; never waits."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0
        self._evicted = 0
        self._lock = ForkLock()

    def get_many(self, keys: Sequence[bytes]) -> Rows:
        """Return the cached vectors of `keys` by key; they become the most recently used."""
        with self._lock:
            # No condition at the end of a loop: CPython 3.13.0 does not run the exit of the `with`
            # for a Ctrl-C in the jump back.
            present = list(filter(self._vectors.__contains__, keys))
            for key in present:
                self._vectors.move_to_end(key)
            return {key: self._vectors[key] for key in present}

    def put_many(self, vectors: Mapping[bytes, bytes]) -> None:
        """Store `vectors`."""
        for key, vector in vectors.items():
            with self._lock:
                self._drop(key)
                self._vectors[key] = vector
                self._bytes += len(vector) + ENTRY_BYTES
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
            self._bytes -= len(vector) + ENTRY_BYTES


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


_LEAST_SECONDS = 0.05
"""What a call of the far store may take, however little time its caller has left."""


class FarCalls:
    """Runs calls of the far store within the time of their callers. Thread-safe.

    The call that takes longer than its caller can wait goes on in its thread. Until it ends, other
    calls are not run: a store in silence makes nobody wait twice.
    """

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Forget the late calls of the parent."""
        self._lock = ForkLock()
        self._late: set[threading.Event] = set()

    def run(self, timeout: float | None, call: Callable[[], T], otherwise: T) -> T:
        """Return the result of `call`; `otherwise` if it is late, or another one still is."""
        if self._late:
            return otherwise
        if timeout is None:
            return call()
        results: list[T] = []
        ended = threading.Event()

        def work() -> None:
            try:
                results.append(call())
            finally:
                with self._lock:
                    ended.set()
                    self._late.discard(ended)

        try:
            threading.Thread(target=work, name="hotstart-store", daemon=True).start()
        except RuntimeError:  # the system cannot start another thread
            return call()
        if not ended.wait(max(timeout, _LEAST_SECONDS)):
            with self._lock:
                if not ended.is_set():
                    self._late.add(ended)
        return results[0] if results else otherwise


class TieredCache:
    """A memory tier over a far store; vectors found far move into memory. Thread-safe.

    With a `timeout`, in seconds, a method takes no longer than that and 50 ms: the far store is
    then as if it were empty, full, or had granted every lease.
    """

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
        self._calls = FarCalls()

    @property
    def is_shared(self) -> bool:
        """Whether other processes use the far store too."""
        return self._far is not None

    def near(self, keys: Sequence[bytes]) -> Rows:
        """Return the vectors in memory. Never waits."""
        return self._near.get_many(keys)

    def get_many(self, keys: Sequence[bytes], timeout: float | None = None) -> Rows:
        """Return the vectors in memory or in the far store."""
        found = self._near.get_many(keys)
        missing = [key for key in keys if key not in found]
        if missing and self._far is not None:
            get_many = partial(self._far.get_many, missing)
            fetched = self._decoded(self._calls.run(timeout, get_many, {}))
            self._near.put_many(fetched)
            found |= fetched
        return found

    def put_many(self, vectors: Mapping[bytes, bytes], timeout: float | None = None) -> None:
        """Store `vectors` in memory and in the far store."""
        self._near.put_many(vectors)
        if self._far is not None and vectors:
            entries = {key: encode(vector, self._precision) for key, vector in vectors.items()}
            self._calls.run(timeout, partial(self._far.set_many, entries), None)

    def claim(
        self, keys: Sequence[bytes], seconds: float, timeout: float | None = None
    ) -> set[bytes]:
        """Return the keys that this process must compute; see `ByteStore.claim`."""
        if self._far is None or not keys:
            return {*keys}
        return self._calls.run(timeout, partial(self._far.claim, keys, seconds), {*keys})

    def release(self, keys: Collection[bytes], timeout: float | None = None) -> None:
        """End this process's leases on `keys`."""
        if self._far is not None and keys:
            self._calls.run(timeout, partial(self._far.release, keys), None)

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Wait until another process may have computed one of `keys`, at most `seconds`."""
        if self._far is not None:
            most = seconds + _LEAST_SECONDS  # a wait that takes all its seconds is not late
            self._calls.run(most, partial(self._far.wait, keys, seconds), None)

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

    def _decoded(self, values: Mapping[bytes, bytes]) -> Rows:
        vectors = {key: decode(raw) for key, raw in values.items()}
        found = {key: vector for key, vector in vectors.items() if vector is not None}
        self._tally.add("damaged", len(vectors) - len(found))
        return found
