"""Near over far: where a vector is found, where it is put, and what is counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cache.conftest import Opener, Place
from hotstart.cache import open_cache
from hotstart.cache.tiered import MemoryTier, TieredCache
from hotstart.telemetry import Metric
from support.waiting import wait_until

KEY, OTHER = b"k" * 20, b"o" * 20
NUMBERS: NDArray[np.float32] = np.linspace(-1, 1, 16, dtype=np.float32)
VECTOR = NUMBERS.tobytes()


def numbers(cache: TieredCache) -> dict[tuple[str, str], float]:
    """The figures by name and tier."""
    found: dict[tuple[str, str], float] = {}
    for figure in cache.metrics():
        assert isinstance(figure, Metric)
        assert isinstance(figure.value, (int, float))
        found[figure.name, figure.labels.get("tier", "")] = figure.value
    return found


class SlowStore:
    """A far store whose reads wait until `gate` is set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reads = 0

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        self.reads += 1
        assert self.gate.wait(60)
        return {}

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        raise AssertionError("a read is late")


def test_while_a_call_is_late_others_do_without_the_far_store() -> None:
    far = SlowStore()
    cache = TieredCache(MemoryTier(1000), far)  # type: ignore[arg-type]
    assert cache.get_many([KEY], timeout=0.01) == {}
    assert cache.get_many([KEY], timeout=60) == {}
    assert cache.get_many([KEY]) == {}
    assert cache.claim([KEY], 15, timeout=60) == {KEY}
    assert far.reads == 1
    far.gate.set()
    wait_until(lambda: cache.get_many([KEY], timeout=60) == {} and far.reads == 2)


def test_a_child_does_not_wait_for_the_late_calls_of_its_parent() -> None:
    far = SlowStore()
    cache = TieredCache(MemoryTier(1000), far)  # type: ignore[arg-type]
    cache.get_many([KEY], timeout=0.01)
    child = os.fork()
    if not child:
        far.gate.set()
        cache.get_many([KEY])
        os._exit(far.reads)
    far.gate.set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


def test_what_is_found_far_is_near_from_then_on(place: Place) -> None:
    writer, reader = open_cache(place), open_cache(place)
    writer.put_many({KEY: VECTOR})
    assert reader.near([KEY]) == {}
    assert reader.get_many([OTHER, KEY])[KEY] == VECTOR
    assert reader.near([KEY])[KEY] == VECTOR
    writer.close()
    reader.close()


def test_float16_halves_what_is_kept_far_and_rounds_it(place: Place) -> None:
    writer, reader = open_cache(f"{place}?precision=float16"), open_cache(place)
    writer.put_many({KEY: VECTOR})
    assert writer.near([KEY])[KEY] == VECTOR
    rounded = NUMBERS.astype(np.float16).astype(np.float32)
    assert reader.get_many([KEY])[KEY] == rounded.tobytes()
    writer.close()
    reader.close()


def test_a_damaged_value_is_counted_and_overwritten(place: Place, opener: Opener) -> None:
    far = opener()
    cache = TieredCache(MemoryTier(1), far)
    far.set_many({KEY: b"no vector"})
    assert cache.get_many([KEY]) == {}
    cache.put_many({KEY: VECTOR})
    assert cache.get_many([KEY])[KEY] == VECTOR
    assert cache.info().damaged == 1
    assert numbers(cache)["hotstart_cache_damaged_total", ""] == 1


def test_memory_alone_leases_everything_and_waits_for_nobody() -> None:
    cache = open_cache("memory:1MB")
    cache.put_many({KEY: VECTOR})
    assert cache.get_many([KEY, OTHER]).keys() == {KEY}
    assert cache.claim([KEY, OTHER], 60) == {KEY, OTHER}
    assert cache.claim([KEY], 60) == {KEY}
    cache.wait([KEY], 60)
    cache.release([KEY])
    cache.close()


def test_figures_tell_of_each_tier(tmp_path: Path) -> None:
    cache = open_cache(f"sqlite:{tmp_path / 'a.db'}?near=700B")
    for key in (KEY, OTHER, b"third"):
        cache.put_many({key: VECTOR})
    found = numbers(cache)
    assert found["hotstart_cache_entries", "near"] == 2
    assert found["hotstart_cache_entries", "far"] == 3
    assert found["hotstart_cache_evicted_total", "near"] == 1
    assert found["hotstart_cache_evicted_total", "far"] == 0
    assert found["hotstart_cache_errors_total", "far"] == 0
    info = cache.info()
    assert (info.entries, info.evicted, info.damaged, info.errors) == (3, 1, 0, 0)
    assert info.bytes == found["hotstart_cache_bytes", "far"] > 0
    cache.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_thread_is_at_work_does_not_hang(tmp_path: Path) -> None:
    cache = open_cache(f"sqlite:{tmp_path / 'a.db'}")
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            cache.put_many({KEY: VECTOR})
            cache.get_many([KEY, OTHER])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(20):
            child = os.fork()
            if not child:
                cache.put_many({b"%d" % number: VECTOR})
                os._exit(cache.info().errors + 2 * (cache.get_many([KEY]).keys() != {KEY}))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert cache.info().entries == 21
    assert cache.info().errors == 0
    cache.close()
