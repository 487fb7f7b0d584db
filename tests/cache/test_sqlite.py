"""One file for many: bounded, whole after a kill, begun anew when it is damaged."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotstart.cache import open_cache, open_store
from hotstart.cache.codec import decode
from hotstart.errors import InvalidInput

WRITER = """
import sys, numpy as np
from hotstart.cache import open_cache
cache = open_cache(sys.argv[1])
print("begun", flush=True)
number = 0
while True:
    row = np.full(64, number, np.float32).tobytes()
    cache.put_many({f"{sys.argv[2]}-{number + i}".encode(): row
                    for i in range(20)})
    number += 20
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors.db"


def _minute() -> int:
    return int(time.time() / 60)


def test_the_bound_is_kept_and_the_least_recently_used_goes_first(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1e9
    monkeypatch.setattr("hotstart.cache.sqlite.time.time", lambda: now)
    store = open_store(f"sqlite:{path}?max_bytes=400KB")
    for number in range(90):
        store.set_many({b"%02d" % number: bytes(3900)})
        now += 60
    assert store.info().entries == 90
    assert store.get_many([b"00", b"01"])
    now += 60
    store.set_many({b"large": bytes(40_000)})
    kept = {*store.keys()}
    assert {b"00", b"01", b"89", b"large"} <= kept
    assert b"02" not in kept
    info = store.info()
    assert info.bytes <= 400_000
    assert info.entries == len(kept)
    assert info.evicted == 91 - len(kept)


def test_the_file_is_no_larger_than_said_however_much_is_written(path: Path) -> None:
    cache = open_cache(f"sqlite:{path}?max_bytes=500KB&near=1B")
    for start in range(0, 4000, 50):
        vector = bytes(4 * (100 + start % 700))
        cache.put_many({b"%d" % number: vector for number in range(start, start + 50)})
        assert cache.info().bytes <= 500_000
    assert cache.info().entries >= 50
    assert cache.info().errors == 0
    cache.close()  # what is in the log comes into the file
    assert path.stat().st_size <= 500_000 + 50 * 4096


def test_a_bound_that_holds_nothing_keeps_nothing(path: Path) -> None:
    store = open_store(f"sqlite:{path}?max_bytes=1B")
    store.set_many({b"a": b"1", b"b": b"2"})
    assert store.get_many([b"a", b"b"]) == {}
    assert store.info().errors == 0


def test_hits_are_written_seldom_and_in_batches(path: Path) -> None:
    store = open_store(f"sqlite:{path}")
    store.set_many({b"%d" % number: b"1" for number in range(50)})
    with sqlite3.connect(path) as other:
        began = other.execute("PRAGMA data_version").fetchone()
        for _ in range(100):
            store.get_many([b"%d" % number for number in range(50)])
        assert other.execute("PRAGMA data_version").fetchone() == began
        other.execute("UPDATE entries SET used = used - 9")
    for number in range(6):  # the sixth makes it 300 of them
        store.get_many([b"%d" % number for number in range(50)])
    (fresh,) = other.execute("SELECT count(*) FROM entries WHERE used = ?", (_minute(),)).fetchone()
    other.close()
    assert fresh == 50


def test_writers_that_are_killed_leave_whole_values(path: Path) -> None:
    url = f"sqlite:{path}?max_bytes=300KB&near=1B"
    for moment in (0.05, 0.2, 0.35):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, url, str(name)], stdout=subprocess.PIPE)
            for name in range(4)
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline()
        time.sleep(moment)
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait(60)
            assert writer.stdout is not None
            writer.stdout.close()
        store = open_store(url)
        keys = [*store.keys()]
        assert len(keys) >= 20
        for key, raw in store.get_many(keys).items():
            number = np.frombuffer(decode(raw) or b"", np.float32)
            assert number.shape == (64,)
            assert 0 <= int(key.split(b"-")[1]) - number[0] < 20
        info = store.info()
        assert info.entries == len(keys)
        assert info.bytes <= 300_000
        store.close()


@pytest.mark.parametrize("content", [b"this is no database" * 99, None])
def test_a_damaged_file_is_set_aside_and_begun_anew(
    path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(f"sqlite:{path}")
    store.set_many({b"%d" % number: bytes(3000) for number in range(50)})
    store.close()
    if content:
        path.write_bytes(content)
    else:  # pages within it are lost
        raw = bytearray(path.read_bytes())
        raw[4096 : len(raw) // 2] = bytes(len(raw) // 2 - 4096)
        path.write_bytes(raw)
    with caplog.at_level(logging.WARNING, "hotstart"):
        store = open_store(f"sqlite:{path}")
        store.get_many([b"%d" % number for number in range(50)])
        store.set_many({b"new": b"1"})
        store.set_many({b"new": b"1"})
    assert store.get_many([b"new"]) == {b"new": b"1"}
    assert "damaged, set aside" in caplog.text
    assert len([*path.parent.glob("*.damaged-*")]) >= 1


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_damage_comes_through_to_the_caller(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vectors.db")
        vectors = {b"%d" % n: np.full(300, n, np.float32).tobytes() for n in range(30)}
        cache = open_cache(f"sqlite:{path}?near=1B")
        cache.put_many(vectors)
        cache.close()
        raw = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4), label="wounds")):
            start = data.draw(st.integers(100, len(raw) - 1), label="start")  # behind our name
            length = data.draw(st.integers(1, 5000), label="length")
            raw[start : start + length] = data.draw(st.binary(min_size=1, max_size=9), label="with")
        path.write_bytes(raw[: data.draw(st.integers(100, len(raw)), label="cut")])

        cache = open_cache(f"sqlite:{path}?near=1B")
        for _ in range(3):
            for key, vector in cache.get_many(list(vectors)).items():
                assert vector == vectors[key]
            cache.put_many(vectors)
        assert cache.get_many(list(vectors)).keys() == vectors.keys()
        cache.close()


def test_another_programs_database_is_never_touched(path: Path) -> None:
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="another program"):
        open_store(f"sqlite:{path}")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(tmp_path: Path) -> None:
    cache = open_cache(f"sqlite:{tmp_path / 'vectors.db'}?near=1B")
    (tmp_path / "vectors.db").unlink()
    for name in ("vectors.db-wal", "vectors.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "vectors.db").mkdir()
    cache.close()
    assert cache.get_many([b"a"]) == {}
    cache.put_many({b"a": bytes(12)})
    assert cache.claim([b"a"], 5) == {b"a"}
    assert cache.info().errors >= 3


def test_threads_share_one_store(path: Path) -> None:
    store = open_store(f"sqlite:{path}")

    def work(name: int) -> None:
        for number in range(20):
            key = b"%d-%d" % (name, number)
            store.set_many({key: key})
            assert store.get_many([key]) == {key: key}

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert store.info().entries == 160
    assert store.info().errors == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parent_and_child_go_on_after_a_fork(path: Path) -> None:
    store = open_store(f"sqlite:{path}")
    store.set_many({b"before": b"1"})
    child = os.fork()
    if not child:
        store.set_many({b"child": b"1"})
        os._exit(0 if store.get_many([b"before"]) == {b"before": b"1"} else 1)
    store.set_many({b"parent": b"1"})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {*store.keys()} == {b"before", b"child", b"parent"}
