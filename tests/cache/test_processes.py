"""Stores between real processes: one of them gets a lease, and what it holds outlives no kill."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cache.conftest import Opener, Place
from hotstart import Embedder
from hotstart.cache import open_cache
from hotstart.cache.embedding_cache import EmbeddingCache
from hotstart.pool.pool import Pool

CLAIMANT = Path(__file__).with_name("claimant.py")
WORKER = """
import sys, numpy as np
from hotstart.cache import open_cache

cache = open_cache(sys.argv[1])
for number in range(150):
    wanted = [f"{(number + i) % 200}".encode() for i in range(10)]
    for key, vector in cache.get_many(wanted).items():
        assert vector == np.full(256, float(key), np.float32).tobytes(), (key, vector)
    cache.put_many({key: np.full(256, float(key), np.float32).tobytes() for key in wanted[:3]})
info = cache.info()
assert not info.errors and not info.damaged, info
cache.close()
"""

Process = subprocess.Popen[str]


@pytest.fixture
def claimant() -> Iterator[Callable[..., Process]]:
    """Starts a process that will claim keys; returns when it is ready to."""
    started: list[Process] = []

    def start(url: str, seconds: float, *keys: str) -> Process:
        process = subprocess.Popen(
            [sys.executable, str(CLAIMANT), url, str(seconds), *keys],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert _line(process) == "ready"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=20)


def _line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _go(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_of_processes_that_claim_exactly_one_gets_each_key(
    place: Place, claimant: Callable[..., Process]
) -> None:
    keys = [f"key {number}" for number in range(20)]
    processes = [claimant(place, 20, *keys) for _ in range(4)]
    for process in processes:
        _go(process)
    claimed = " ".join(_line(process) for process in processes)
    assert sorted(claimed.replace("key ", "").split()) == sorted(str(n) for n in range(20))


def test_the_lease_of_a_process_that_was_killed_is_taken_over(
    place: Place, opener: Opener, claimant: Callable[..., Process]
) -> None:
    holder = claimant(place, 1.0, "a")
    _go(holder)
    assert _line(holder) == "a"
    holder.kill()
    other, began = opener(), time.monotonic()
    assert other.claim([b"a"], 5) == set()
    other.wait([b"a"], 20)
    assert other.claim([b"a"], 5) == {b"a"}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("bound", ["1GB", "150KB"], ids=["with room", "giving up all the time"])
def test_eight_processes_that_write_and_read_see_whole_values_only(
    tmp_path: Path, bound: str
) -> None:
    url = f"sqlite:{tmp_path / 'vectors.db'}?max_bytes={bound}&near=1B"
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, url]) for _ in range(8)]
    assert [worker.wait(120) for worker in workers] == [0] * 8
    cache = open_cache(url)
    assert cache.info().bytes <= (150_000 if bound == "150KB" else 1e9)
    kept = cache.get_many([str(number).encode() for number in range(200)])
    assert len(kept) >= 20
    for key, vector in kept.items():
        assert vector == np.full(256, float(key), np.float32).tobytes()
    cache.close()


ENDLESS = """
import sys
from hotstart import Embedder
embedder = Embedder("fake:dimension=64", cache=sys.argv[1])
begin = int(sys.argv[2])
print("begins", flush=True)
while True:
    embedder.encode([f"text {number}" for number in range(begin, begin + 50)])
    begin += 25
"""
KILLS = int(os.environ.get("HOTSTART_TESTS_KILLS", "12"))


def test_a_killed_writer_leaves_right_vectors_and_a_cache_that_works(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'vectors.db'}"
    chance = random.Random(7)
    plain = Embedder("fake:dimension=64", pool=Pool())
    hits = 0
    for number in range(KILLS):
        begin = 100 * number
        command = [sys.executable, "-c", ENDLESS, url, str(begin)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert _line(process) == "begins"
        time.sleep(chance.uniform(0, 0.3))
        process.kill()
        process.communicate()
        cached = Embedder("fake:dimension=64", cache=EmbeddingCache(url), pool=Pool())
        texts = [f"text {each}" for each in range(begin, begin + 200)]
        # The leases of the killed process are waited for, 15 s at most.
        np.testing.assert_array_equal(cached.encode(texts, timeout=60), plain.encode(texts))
        info = cached.cache_info()
        assert (info.errors, info.damaged) == (0, 0)
        hits += info.hits
    assert hits
    assert sorted(os.listdir(tmp_path)) in (
        ["vectors.db"],
        ["vectors.db", "vectors.db-shm", "vectors.db-wal"],
    )
