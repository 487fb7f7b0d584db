"""Vectors kept by text: each is computed once, however many threads, tasks and processes ask.

    begin ──▶ near? found                                    (never waits)
          └─▶ under way in this process? awaited
          └─▶ else mine ──fulfil──▶ far? ──lease──▶ second look ──▶ compute ──▶ put, land

Whoever stops waiting stops nothing, and an error is told to all who wait and then forgotten.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.cache import open_cache
from hotstart.cache.codec import Space
from hotstart.cache.tiered import KeptInfo
from hotstart.concurrency import Deadline
from hotstart.errors import StillComputing
from hotstart.telemetry import Counters, Metric, span
from hotstart.types import EmbedOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flight = Future[NDArray[np.float32]]


class Abandoned(Exception):
    """Whoever computed a vector gave up for a reason of their own; others may take it over."""


class SingleFlight:
    """Work under way, by key. Safe from any thread."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child must: who computes stayed in the parent."""
        self._lock = threading.Lock()
        self._flights: dict[bytes, Flight] = {}

    def board(self, keys: Iterable[bytes]) -> tuple[dict[bytes, Flight], list[bytes]]:
        """Return the flight of each of `keys`, and the keys the caller must now `land` or `fail`.

        These are the ones that nobody was computing yet.
        """
        flights: dict[bytes, Flight] = {}
        mine = []
        with self._lock:
            for key in keys:
                flight = self._flights.get(key)
                if flight is None:
                    flight = self._flights[key] = Future()
                    mine.append(key)
                flights[key] = flight
        return flights, mine

    def land(self, vectors: Mapping[bytes, NDArray[Any]]) -> None:
        """Give those who wait their vectors."""
        for key, vector in vectors.items():
            self._take(key).set_result(vector)

    def fail(self, keys: Iterable[bytes], error: BaseException) -> None:
        """Tell those who wait for one of `keys` why there is no vector. Nothing remains of it."""
        for key in keys:
            self._take(key).set_exception(error)

    def _take(self, key: bytes) -> Flight:
        with self._lock:
            return self._flights.pop(key)


Compute = Callable[[Sequence[str]], EmbedOutput]
"""Returns the vectors of texts, and the card of the model that made them."""

LEASE = 15.0
"""Seconds after which other processes may take over what one of them began to compute."""

_WINDOW = 256  # texts computed under one lease


class Request:
    """What one call asks for. `mine` is what the caller must have fulfilled."""

    def __init__(self, keys: list[bytes], found: dict[bytes, Any]) -> None:
        self.keys = keys
        self.found = found
        self.awaited: dict[bytes, Future[Any]] = {}
        self.mine: dict[bytes, str] = {}

    def vectors(self) -> NDArray[np.float32]:
        """Return the vectors in the order asked for, float32 (n, dimension), once all are there.

        Raises:
            Abandoned: whoever computed one gave up.
            Exception: what stood in the way of computing one.
        """
        import numpy as np

        landed = {key: flight.result(0) for key, flight in self.awaited.items()}
        everything = self.found | landed if landed else self.found
        return np.array([everything[key] for key in self.keys])


class CacheCounters(NamedTuple):
    """How many vectors that were asked for came from where, and what is kept.

    Attributes:
        near: this process's memory.
        far: the store that processes share.
        joined: somebody's computation that was under way.
        computed: their model.
        kept: the state of what is kept.
    """

    near: int
    far: int
    joined: int
    computed: int
    kept: KeptInfo


class OtherSpace(Abandoned):
    """The model that computed is not the one that was asked for: it was loaded anew meanwhile."""


class EmbeddingCache:
    """Remembers vectors near, and far where `url` names a place. Safe from any thread.

    Args:
        url: `memory:64MB`, `sqlite:FILE` or `redis://HOST:PORT/0`; see `hotstart.cache`.
    """

    def __init__(self, url: str) -> None:
        self._kept = open_cache(url)
        self._flights = SingleFlight()
        self._tally = Counters()
        _living.add(self)

    @classmethod
    def shared(cls, url: str) -> EmbeddingCache:
        """Return the cache at `url`, one for the whole process while anybody uses it."""
        cache = _by_url.get(url)
        return cache if cache is not None else _by_url.setdefault(url, cls(url))

    def begin(self, texts: Sequence[str], space: Space) -> Request:
        """Look near, and board what is under way. Never waits: for the event loop too."""
        keys = space.keys(texts)
        request = Request(keys, self._kept.near(keys))
        text_of = {k: t for k, t in zip(keys, texts, strict=True) if k not in request.found}
        if text_of:
            request.awaited, mine = self._flights.board(text_of)
            request.mine = {key: text_of[key] for key in mine}
            self._tally.add("joined", len(request.awaited) - len(mine))
        self._tally.add("near", len(request.found))
        return request

    def fulfil(
        self, request: Request, space: Space, compute: Compute, timeout: float | None = None
    ) -> None:
        """Have what is `mine` of `request` found or computed; all who wait for it are told.

        Raises:
            StillComputing: another process was not done with it within `timeout` seconds.
            OtherSpace: the model is another by now.
            Exception: what `compute` raised.
        """
        left = dict(request.mine)
        try:
            with span("fulfil", model=space.source, texts=len(left)):
                self._fulfil(left, space, compute, timeout)
        except BaseException as error:
            # A deadline, or Ctrl-C, is the caller's own: who has more time takes the work over.
            late = timeout is not None and isinstance(error, TimeoutError)
            own = late or not isinstance(error, Exception)
            self._flights.fail(left, Abandoned() if own else error)
            raise

    def vectors(
        self, texts: Sequence[str], space: Space, compute: Compute, timeout: float | None
    ) -> NDArray[np.float32]:
        """Return the vectors of `texts`, float32 (n, dimension), within `timeout` seconds.

        Raises:
            StillComputing: others were not done with one of them in time.
            OtherSpace: the model is another by now.
            Exception: what `compute` raised.
        """
        deadline = Deadline(timeout)
        while True:
            request = self.begin(texts, space)
            if request.mine:
                self.fulfil(request, space, compute, deadline.left)
            if request.awaited and wait(request.awaited.values(), deadline.left).not_done:
                raise StillComputing(len(texts), after=timeout)
            try:
                return request.vectors()
            except OtherSpace:
                raise
            except Abandoned:
                continue

    def has(self, texts: Sequence[str], space: Space) -> bool:
        """Return whether all of `texts` are kept near. Never waits."""
        keys = space.keys(texts)
        return self._kept.near(keys).keys() >= set(keys)

    def info(self) -> CacheCounters:
        """Return the counts as they are now."""
        near, far, joined, computed = (self._tally[name] for name in CacheCounters._fields[:-1])
        return CacheCounters(near, far, joined, computed, self._kept.info())

    def metrics(self) -> Iterator[Metric]:
        """Yield every count."""
        for found in CacheCounters._fields[:-1]:
            what = "Vectors asked for, by where they came from"
            at = {"found": found}
            yield Metric("hotstart_cache_asked_total", "counter", what, self._tally[found], at)
        yield from self._kept.metrics()

    def close(self) -> None:
        """Close the connection or file; what is kept far stays."""
        self._kept.close()

    def _fulfil(
        self, left: dict[bytes, str], space: Space, compute: Compute, timeout: float | None
    ) -> None:
        """Land all that is `left`, a window at a time, and take it out."""
        deadline = Deadline(timeout)
        while left:
            window = dict(islice(left.items(), _WINDOW))
            for landed in self._obtain(window, space, compute, deadline):
                self._flights.land(landed)
                for key in landed:
                    del left[key]

    def _obtain(
        self, wanted: dict[bytes, str], space: Space, compute: Compute, deadline: Deadline
    ) -> Iterator[dict[bytes, Any]]:
        """Yield vectors until all that is `wanted` was found, or computed under a lease."""
        missing = dict(wanted)
        while missing:
            yield self._found(missing, list(missing))
            leased = self._kept.claim(list(missing), LEASE)
            try:
                # A second look: who held the lease before may have put it there meanwhile.
                yield self._found(missing, list(leased))
                computing = {key: text for key, text in missing.items() if key in leased}
                if computing:
                    self._tally.add("computed", len(computing))
                    yield _drop(missing, self._compute(computing, space, compute))
            finally:
                self._kept.release(leased)
            if missing:
                if deadline.is_over:
                    raise StillComputing(len(missing), after=deadline.seconds)
                left = deadline.left
                self._kept.wait(list(missing), LEASE if left is None else min(left, LEASE))

    def _found(self, missing: dict[bytes, str], keys: list[bytes]) -> dict[bytes, Any]:
        """Take what is kept of `keys` out of what is `missing`; return it."""
        found = self._kept.get_many(keys)
        self._tally.add("far", len(found))
        return _drop(missing, found)

    def _compute(
        self, texts: Mapping[bytes, str], space: Space, compute: Compute
    ) -> dict[bytes, Any]:
        made = compute(list(texts.values()))
        if made.card.fingerprint != space.fingerprint:
            raise OtherSpace
        vectors = dict(zip(texts, made.vectors, strict=True))
        self._kept.put_many(vectors)
        return vectors


def _drop(missing: dict[bytes, str], found: dict[bytes, Any]) -> dict[bytes, Any]:
    """Take what was `found` out of what is `missing`; return it."""
    for key in found:
        del missing[key]
    return found


_living: weakref.WeakSet[EmbeddingCache] = weakref.WeakSet()
_by_url: weakref.WeakValueDictionary[str, EmbeddingCache] = weakref.WeakValueDictionary()


def _forget_flights() -> None:
    for cache in _living:
        cache._flights.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_flights)
