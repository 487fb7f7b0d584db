"""Vectors being computed in this process, so that whoever asks for the same waits for that one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Flight = Future[NDArray[np.float32]]


class Abandoned(Exception):
    """Whoever computed a vector gave up for a reason of their own; others may take it over."""


class Flights:
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
