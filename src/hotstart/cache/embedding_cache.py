"""The embedding cache: each vector is computed once (single-flight).

    begin ──▶ in memory? found                               (never waits)
          └─▶ computed by another thread? awaited
          └─▶ else mine ──fulfil──▶ far? ──lease──▶ second look ──▶ compute ──▶ put, resolve

A caller that stops waiting does not stop the computation. All waiting callers get an error; it is
not cached.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.cache import open_cache
from hotstart.cache.codec import VectorSpace
from hotstart.cache.store import LEASE
from hotstart.cache.tiered import TieredCache, TieredInfo
from hotstart.concurrency import Deadline, reset_after_fork
from hotstart.errors import StillComputing
from hotstart.telemetry import Counters, Metric, span
from hotstart.types import EmbedOutput, Matrix

if TYPE_CHECKING:
    Flight = Future[bytes]


class Abandoned(Exception):
    """The caller that computed a vector gave up; others may take over."""


class SingleFlight:
    """Running computations by key. Thread-safe."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the computing threads exist in the parent only."""
        # Reentrant: the garbage collector may drop a Lookup in a thread that holds the lock.
        self._lock = threading.RLock()
        self._flights: dict[bytes, Flight] = {}

    def join(self, keys: Iterable[bytes], mine: dict[bytes, Flight]) -> dict[bytes, Flight]:
        """Return the future of each of `keys`.

        The futures of keys that no thread is computing are added to `mine`. The caller must
        `resolve`, `fail` or `abandon` them.
        """
        flights: dict[bytes, Flight] = {}
        with self._lock:
            for key in keys:
                flight = self._flights.get(key)
                if flight is None:
                    flight = mine[key] = Future()  # first: Ctrl-C may come after each step
                    self._flights[key] = flight
                flights[key] = flight
        return flights

    def abandon(self, flights: Mapping[bytes, Flight]) -> None:
        """Raise Abandoned in the callers that wait for one of `flights` that is not done."""
        for key, flight in flights.items():
            if not flight.done():
                with self._lock:
                    if self._flights.get(key) is flight:
                        del self._flights[key]
                with suppress(InvalidStateError):  # resolved meanwhile
                    flight.set_exception(Abandoned())

    def resolve(self, vectors: Mapping[bytes, bytes]) -> None:
        """Give waiting callers their vectors."""
        for key, vector in vectors.items():
            with self._lock:
                flight = self._flights.pop(key)
            flight.set_result(vector)

    def fail(self, keys: Iterable[bytes], error: BaseException) -> None:
        """Raise `error` in the callers that wait for one of `keys`; the error is not cached."""
        for key in keys:
            with self._lock:
                flight = self._flights.pop(key, None)
            if flight is not None:  # None: Ctrl-C came between two steps of `resolve`
                flight.set_exception(error)


_WINDOW = 256  # texts computed under one lease


class Lookup:
    """The texts of one call, and where their vectors come from.

    If the caller drops the object without computing `mine`, as after a cancellation or Ctrl-C,
    the callers that wait for these texts get Abandoned and take over.

    Attributes:
        space: the vector space of the texts.
        keys: key of each text, in the order of the call.
        found: vectors in memory.
        awaited: futures of vectors being computed, `mine` included.
        mine: texts by key that the caller must compute with `fulfil`.
    """

    def __init__(
        self,
        space: VectorSpace,
        keys: list[bytes],
        found: dict[bytes, bytes],
        flights: SingleFlight,
    ) -> None:
        self._flights = flights
        self._own: dict[bytes, Flight] = {}
        self.space = space
        self.keys = keys
        self.found = found
        self.awaited: dict[bytes, Future[Any]] = {}
        self.mine: dict[bytes, str] = {}

    def join(self, text_of: Mapping[bytes, str]) -> None:
        """Join the running computations of the keys of `text_of`; the other keys are `mine`."""
        self.awaited = self._flights.join(text_of, self._own)
        self.mine = {key: text_of[key] for key in self._own}

    def __del__(self) -> None:
        if self._own:
            self._flights.abandon(self._own)

    def vectors(self) -> Matrix:
        """Wait for all vectors; return them in the order of the call.

        Raises:
            Abandoned: the caller that computed one of them gave up.
            Exception: the computation of one of them failed.
        """
        resolved = {key: flight.result(0) for key, flight in self.awaited.items()}
        everything = self.found | resolved if resolved else self.found
        return Matrix.of_rows(everything[key] for key in self.keys)


class CacheCounters(NamedTuple):
    """The sources of the requested vectors, and the state of the stores.

    Attributes:
        near: from memory.
        far: from the shared store.
        joined: from a running computation of another caller.
        computed: from the model.
        stores: the state of the stores.
    """

    near: int
    far: int
    joined: int
    computed: int
    stores: TieredInfo


class SpaceChanged(Abandoned):
    """The model that computed has another vector space than the requested one."""


class EmbeddingCache:
    """A cache of vectors in memory and in the store of `url`. Thread-safe.

    Args:
        url: `memory:64MB`, `sqlite:FILE` or `redis://HOST:PORT/0`; see `hotstart.cache`.

    Attributes:
        url: as the constructor got it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._stores = open_cache(url)
        self._flights = SingleFlight()
        self._tally = Counters()

    @classmethod
    def shared(cls, url: str) -> EmbeddingCache:
        """Return the cache at `url`, one for the whole process while it is in use."""
        cache = _by_url.get(url)
        return cache if cache is not None else _by_url.setdefault(url, cls(url))

    def begin(self, texts: Sequence[str], space: VectorSpace) -> Lookup:
        """Look in memory and join running computations; never wait."""
        keys = space.keys(texts)
        lookup = Lookup(space, keys, self._stores.near(keys), self._flights)
        text_of = {k: t for k, t in zip(keys, texts, strict=True) if k not in lookup.found}
        if text_of:
            lookup.join(text_of)
            self._tally.add("joined", len(lookup.awaited) - len(lookup.mine))
        self._tally.add("near", len(lookup.found))
        return lookup

    @contextmanager
    def fulfil(self, lookup: Lookup, timeout: float | None = None) -> Iterator[Work]:
        """Supply the texts `mine` of `lookup`, from the far store or computed by the caller.

            with cache.fulfil(lookup) as work:
                for texts in work:
                    work.put(model.embed(texts))

        All callers that wait for a vector get it, or the error that ended the block.

        Raises:
            StillComputing: another process did not compute a vector within `timeout` seconds.
            SpaceChanged: the model changed meanwhile.
        """
        work = Work(self._stores, self._flights, self._tally, lookup, Deadline(timeout))
        try:
            with span("fulfil", model=lookup.space.source, texts=len(lookup.mine)):
                yield work
        except BaseException as error:
            # A timeout or Ctrl-C concerns this caller only: another caller takes over.
            late = timeout is not None and isinstance(error, TimeoutError)
            is_own = late or not isinstance(error, Exception)
            work.fail(Abandoned() if is_own else error)
            raise
        work.fail(Abandoned())  # keys are left only if the caller left the loop early

    def has(self, texts: Sequence[str], space: VectorSpace) -> bool:
        """Return whether all of `texts` are in memory. Never waits."""
        keys = space.keys(texts)
        return self._stores.near(keys).keys() >= set(keys)

    def info(self) -> CacheCounters:
        """Return the current counts."""
        near, far, joined, computed = (self._tally[name] for name in CacheCounters._fields[:-1])
        return CacheCounters(near, far, joined, computed, self._stores.info())

    def metrics(self) -> Iterator[Metric]:
        """Yield every count."""
        for found in CacheCounters._fields[:-1]:
            what = "Requested vectors, by where they came from"
            at = {"found": found}
            yield Metric("hotstart_cache_asked_total", "counter", what, self._tally[found], at)
        yield from self._stores.metrics()

    def close(self) -> None:
        """Close the connection or file; stored vectors stay."""
        self._stores.close()


class Work:
    """The texts to compute, under leases of the far store. See `EmbeddingCache.fulfil`."""

    def __init__(
        self,
        stores: TieredCache,
        flights: SingleFlight,
        counters: Counters,
        lookup: Lookup,
        deadline: Deadline,
    ) -> None:
        self._stores = stores
        self._flights = flights
        self._counters = counters
        self._space = lookup.space
        self._deadline = deadline
        self._left = dict(lookup.mine)
        self._computing: dict[bytes, str] = {}
        self._leased: set[bytes] = set()

    def __iter__(self) -> Iterator[list[str]]:
        """Yield texts that this process must compute; call `put` before the next iteration."""
        while self._left:
            window = list(islice(self._left, _WINDOW))
            while window := [key for key in window if key in self._left]:
                self._find(window)
                yield from self._lease(window)
                if any(key in self._left for key in window):
                    self._wait(window)

    def put(self, output: EmbedOutput) -> None:
        """Store the vectors of the texts yielded last and resolve their futures.

        Raises:
            SpaceChanged: another model computed them than the requested one.
        """
        if output.info.fingerprint != self._space.fingerprint:
            raise SpaceChanged
        vectors = dict(zip(self._computing, output.vectors.rows(), strict=True))
        self._stores.put_many(vectors, self._deadline.left)
        self._resolve(vectors)

    def fail(self, error: BaseException) -> None:
        """End the leases and raise `error` in the callers that wait for the remaining vectors."""
        self._release()
        left, self._left = self._left, {}
        self._flights.fail(left, error)

    def _find(self, keys: Sequence[bytes]) -> None:
        """Resolve the keys that are in memory or in the far store."""
        missing = [key for key in keys if key in self._left]
        found = self._stores.get_many(missing, self._deadline.left)
        self._counters.add("far", len(found))
        self._resolve(found)

    def _lease(self, window: Sequence[bytes]) -> Iterator[list[str]]:
        missing = [key for key in window if key in self._left]
        self._leased = self._stores.claim(missing, LEASE, self._deadline.left)
        if self._stores.is_shared:  # the previous owner of the lease may have stored the vector
            self._find([key for key in missing if key in self._leased])
        self._computing = {
            key: self._left[key] for key in missing if key in self._leased and key in self._left
        }
        if self._computing:
            self._counters.add("computed", len(self._computing))
            yield list(self._computing.values())
        self._release()

    def _wait(self, window: Sequence[bytes]) -> None:
        """Wait for other processes that hold the leases."""
        missing = [key for key in window if key in self._left]
        if self._deadline.is_over:
            raise StillComputing(len(missing), after=self._deadline.seconds)
        left = self._deadline.left
        self._stores.wait(missing, LEASE if left is None else min(left, LEASE))

    def _release(self) -> None:
        leased, self._leased = self._leased, set()
        self._stores.release(leased, self._deadline.left)

    def _resolve(self, vectors: Mapping[bytes, Any]) -> None:
        self._flights.resolve(vectors)
        for key in vectors:
            del self._left[key]


_by_url: weakref.WeakValueDictionary[str, EmbeddingCache] = weakref.WeakValueDictionary()
