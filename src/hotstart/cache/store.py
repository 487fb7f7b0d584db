"""The protocol of a byte store, its leases, and its failure log."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from hotstart.concurrency import ForkLock

LEASE = 15.0
"""Seconds after which other processes may take over what one of them began to compute.

A lease that ends later was made by a clock that is ahead, and does not count.
"""


class StoreInfo(NamedTuple):
    """What a store holds, its evictions and errors.

    Attributes:
        entries: stored values; 0 if the store shares its place with others and cannot tell.
        bytes: size of the stored values; 0 if it cannot tell.
        evicted: values evicted by this process.
        errors: failed reads and writes; each was a miss or a value that was not stored.
    """

    entries: int
    bytes: int
    evicted: int
    errors: int


class ByteStore(Protocol):
    """A store of bytes by key. Thread-safe; processes may share it.

    A method never raises for a failure of the store: a failed read is a miss, a failed write is
    dropped, and `errors` counts both.
    """

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of `keys` by key; absent keys are left out."""

    def set_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries`, replacing existing values."""

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Delete `keys`."""

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the keys that begin with `prefix`."""

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Return those of `keys` on which the caller now has a lease of `seconds`.

        One of several claimants gets a key, until it is released or the lease expires. The owner of
        a lease gets it again: a release may have failed. A store that cannot be reached grants
        every lease: two computations are better than none.
        """

    def release(self, keys: Collection[bytes]) -> None:
        """End the caller's leases on `keys`; leases of others stay."""

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Wait until another lease on one of `keys` may have ended, at most `seconds`."""

    def info(self) -> StoreInfo:
        """Return the current counts."""

    def close(self) -> None:
        """Close files and connections."""


logger = logging.getLogger("hotstart.cache")

_SMALL_WRITES = {"claim", "release"}


class FailureLog:
    """Logs the first and the last failure of the store at `place`. Thread-safe."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._count = 0
        self._failing: set[str] = set()
        self._lock = ForkLock()

    @property
    def count(self) -> int:
        """The number of failures."""
        return self._count

    def add(self, number: int = 1) -> None:
        """Add `number` failures without logging them."""
        with self._lock:
            self._count += number

    def begin(self, doing: str, error: Exception, number: int = 1) -> None:
        """Add `number` failures of `doing`, for example "write"; log the first of a series.

        Claims and releases are writes of a few bytes: they fail with a write, and may succeed
        between two writes that fail. A write alone ends their series.
        """
        doing = "write" if doing in _SMALL_WRITES else doing
        with self._lock:
            self._count += number
            first = doing not in self._failing
            self._failing.add(doing)
        level = logging.WARNING if first else logging.DEBUG
        kind = type(error).__name__
        logger.log(level, "Cache %s: %s failed: %s: %s", self._place, doing, kind, error)

    def end(self, doing: str) -> None:
        """Record that `doing` succeeded; log it after a failure."""
        if doing not in self._failing:
            return
        with self._lock:
            self._failing.discard(doing)
        logger.warning("Cache %s: %s works again", self._place, doing)
