"""Work under way: one computes, the others wait; nothing of it remains."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hotstart.cache.embedding_cache import SingleFlight

VECTOR = np.zeros(3, np.float32)


def test_the_first_to_board_a_key_computes_it() -> None:
    flights = SingleFlight()
    first, mine = flights.join([b"a", b"b"])
    second, others = flights.join([b"b", b"c"])
    assert (mine, others) == ([b"a", b"b"], [b"c"])
    assert first[b"b"] is second[b"b"]
    flights.resolve({b"b": VECTOR})
    assert second[b"b"].result(0) is VECTOR
    assert not first[b"a"].done()


def test_an_error_is_told_to_all_and_forgotten() -> None:
    flights = SingleFlight()
    boarded, _ = flights.join([b"a"])
    flights.fail([b"a"], RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        boarded[b"a"].result(0)
    again, mine = flights.join([b"a"])
    assert mine == [b"a"]
    assert not again[b"a"].done()


def test_of_many_threads_one_computes() -> None:
    flights = SingleFlight()
    barrier = threading.Barrier(16)

    def board(_: int) -> int:
        barrier.wait(60)
        return len(flights.join([b"a"])[1])

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(board, range(16))) == 1
