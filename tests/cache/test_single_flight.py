"""Work under way: one computes, the others wait; nothing of it remains."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hotstart.cache.embedding_cache import Abandoned, SingleFlight

Own = dict[bytes, Any]
VECTOR = bytes(12)


def test_the_first_to_board_a_key_computes_it() -> None:
    flights = SingleFlight()
    mine: Own = {}
    others: Own = {}
    first = flights.join([b"a", b"b"], mine)
    second = flights.join([b"b", b"c"], others)
    assert (list(mine), list(others)) == ([b"a", b"b"], [b"c"])
    assert first[b"b"] is second[b"b"]
    flights.resolve({b"b": VECTOR})
    assert second[b"b"].result(0) is VECTOR
    assert not first[b"a"].done()


def test_an_error_is_told_to_all_and_forgotten() -> None:
    flights = SingleFlight()
    boarded = flights.join([b"a"], {})
    flights.fail([b"a"], RuntimeError("no"))
    with pytest.raises(RuntimeError, match="no"):
        boarded[b"a"].result(0)
    mine: Own = {}
    again = flights.join([b"a"], mine)
    assert list(mine) == [b"a"]
    assert not again[b"a"].done()


def test_of_many_threads_one_computes() -> None:
    flights = SingleFlight()
    barrier = threading.Barrier(16)

    def board(_: int) -> int:
        barrier.wait(60)
        mine: Own = {}
        flights.join([b"a"], mine)
        return len(mine)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(board, range(16))) == 1


def test_what_is_abandoned_is_raised_in_those_who_wait_and_computed_by_the_next() -> None:
    flights = SingleFlight()
    mine: Own = {}
    flights.join([b"a", b"b"], mine)
    waiting = flights.join([b"a", b"b"], {})
    flights.resolve({b"b": VECTOR})
    flights.abandon(mine)
    with pytest.raises(Abandoned):
        waiting[b"a"].result(0)
    assert waiting[b"b"].result(0) is VECTOR
    others: Own = {}
    flights.join([b"a"], others)
    flights.abandon(mine)  # it is not that of the next
    assert list(others) == [b"a"]
    assert not others[b"a"].done()
