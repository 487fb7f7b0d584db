"""What every store promises, held against a real file and a real Redis."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from cache.conftest import Opener


def test_what_was_kept_is_there_for_others_too(opener: Opener) -> None:
    opener().set_many({b"a": b"1", b"b\x00\xff": b""})
    other = opener()
    assert other.get_many([b"a", b"b\x00\xff", b"c"]) == {b"a": b"1", b"b\x00\xff": b""}
    other.set_many({b"a": b"2"})
    assert opener().get_many([b"a"]) == {b"a": b"2"}
    other.delete_many([b"a", b"never"])
    assert other.get_many([b"a"]) == {}
    assert other.get_many([]) == {}


def test_many_at_once(opener: Opener) -> None:
    entries = {f"key {number}".encode(): b"x" * number for number in range(1500)}
    store = opener()
    store.set_many(entries)
    assert store.get_many(list(entries)) == entries
    assert {*store.keys(b"key 14")} == {key for key in entries if key.startswith(b"key 14")}


def test_keys_with_the_signs_of_patterns_are_taken_literally(opener: Opener) -> None:
    store = opener()
    odd = [b"*", b"?a", b"[ab]", b"a-b", b"\\a", b"^"]
    store.set_many(dict.fromkeys([*odd, b"ab"], b"1"))
    for key in odd:
        assert [*store.keys(key)] == [key]
    assert {*store.keys()} == {*odd, b"ab"}


def test_of_many_who_claim_one_gets_it(opener: Opener) -> None:
    stores = [opener() for _ in range(8)]
    keys = [b"a", b"b", b"c"]
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda store: store.claim(keys, 20), stores))
    assert sorted(key for one in claimed for key in one) == keys


def test_a_lease_ends_when_it_is_released_by_its_holder_alone(opener: Opener) -> None:
    holder, other = opener(), opener()
    assert holder.claim([b"a"], 20) == {b"a"}
    other.release([b"a"])
    assert other.claim([b"a"], 20) == set()
    holder.release([b"a"])
    assert other.claim([b"a"], 20) == {b"a"}


def test_a_lease_that_ran_out_is_taken_over(opener: Opener) -> None:
    opener().claim([b"a"], 0.2)
    other = opener()
    began = time.monotonic()
    other.wait([b"a"], 20)
    assert other.claim([b"a"], 20) == {b"a"}
    assert 0.1 < time.monotonic() - began < 5


def test_who_waits_goes_on_at_the_release(opener: Opener) -> None:
    holder, other = opener(), opener()
    holder.claim([b"a", b"b"], 20)
    releasing = threading.Timer(0.1, holder.release, [[b"a"]])
    releasing.start()
    began = time.monotonic()
    other.wait([b"a", b"b"], 20)
    assert time.monotonic() - began < 15
    releasing.join(60)
    assert other.claim([b"a", b"b"], 20) == {b"a"}


def test_nobody_waits_for_what_is_not_leased_or_longer_than_said(opener: Opener) -> None:
    holder, other = opener(), opener()
    began = time.monotonic()
    other.wait([b"a"], 20)
    assert time.monotonic() - began < 5
    holder.claim([b"a"], 10)
    other.wait([b"a"], 0.1)
    assert 0.05 < time.monotonic() - began < 5
