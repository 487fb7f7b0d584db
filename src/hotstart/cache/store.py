"""The protocol of a byte store, its leases, and its failure log."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from hotstart.concurrency import ForkLock


class StoreInfo(NamedTuple):
    """What a store holds, its evictions and errors.

    Attributes:
        entries: values kept; 0 where the store shares its place with others and cannot tell.
        bytes: they take; 0 likewise.
        evicted: values given up for newer ones, by this process.
        errors: times it could not be reached or written; each was a miss or a value not kept.
    """

    entries: int
    bytes: int
    evicted: int
    errors: int


class ByteStore(Protocol):
    """Stores bytes by key. Safe from any thread; may be shared by processes.

    It never raises for a failure of its own: what cannot be read is not there, what cannot be
    written is not kept, and `errors` counts it.
    """

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is there under each of `keys`, without those that have nothing."""

    def set_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep `entries`, in the place of what was there."""

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove what is there under each of `keys`."""

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the keys that begin with `prefix`."""

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Return those of `keys` on which the caller now has a lease of `seconds`.

        Of many who claim a key one gets it, until it is released or the lease has run out. A store
        that cannot be reached grants every lease: better two computations than none.
        """

    def release(self, keys: Collection[bytes]) -> None:
        """End the caller's leases on `keys`; those of others stay."""

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Return when others may have ended a lease on one of `keys`, at most after `seconds`."""

    def info(self) -> StoreInfo:
        """Return the counts of this moment."""

    def close(self) -> None:
        """Close files and connections."""


logger = logging.getLogger("hotstart.cache")


class FailureLog:
    """Logs the first and the last failure of the store at `place`. Safe from any thread."""

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
        """Count `number` more of what the log was told of already."""
        with self._lock:
            self._count += number

    def begin(self, doing: str, error: Exception, number: int = 1) -> None:
        """Count `number` of `doing`, as "write"; the first of a row is logged as a warning."""
        with self._lock:
            self._count += number
            first = doing not in self._failing
            self._failing.add(doing)
        level = logging.WARNING if first else logging.DEBUG
        kind = type(error).__name__
        logger.log(level, "Cache %s: %s failed: %s: %s", self._place, doing, kind, error)

    def end(self, doing: str) -> None:
        """Note that `doing` worked; logged where it failed the last time."""
        if doing not in self._failing:
            return
        with self._lock:
            self._failing.discard(doing)
        logger.warning("Cache %s: %s works again", self._place, doing)
