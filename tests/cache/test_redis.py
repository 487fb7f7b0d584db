"""Redis in trouble: restarted, cut off, full, foreign values under our keys. Never an error."""

from __future__ import annotations

import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.cache import open_cache, open_store
from hotstart.cache.codec import encode
from hotstart.cache.embedding_cache import EmbeddingCache
from hotstart.pool.pool import Pool
from support.redis_server import RedisServer
from support.waiting import wait_until

VECTOR = np.arange(4, dtype=np.float32).tobytes()
KEY = b"k" * 20
NAME = b"hotstart:v:" + KEY


def far_only(url: str) -> str:
    """So little is kept near that every look goes to Redis."""
    return f"{url}?near=1B"


def test_a_restart_in_the_middle_costs_what_was_kept_and_nothing_else(
    redis_server: RedisServer,
) -> None:
    cache = open_cache(far_only(redis_server.url))
    cache.put_many({KEY: VECTOR})
    redis_server.stop()
    assert cache.get_many([KEY]) == {}
    cache.put_many({KEY: VECTOR})
    assert cache.info().errors >= 2
    redis_server.start()
    time.sleep(0.6)  # the cool-down
    cache.put_many({KEY: VECTOR})
    assert cache.get_many([KEY])[KEY] == VECTOR


def test_a_close_during_a_call_raises_nothing(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url)
    store.set_many({KEY: b"value"})
    with redis_server.client() as client, ThreadPoolExecutor(1) as threads:
        client.client_pause(1000)  # milliseconds in which Redis answers nothing
        call = threads.submit(store.get_many, [KEY])
        wait_until(call.running)
        time.sleep(0.1)  # the thread reads from its connection
        store.close()
        assert call.result(60) in ({}, {KEY: b"value"})


@pytest.mark.parametrize("timeout", [0, 0.3])
def test_a_silent_redis_holds_a_call_no_longer_than_its_timeout(
    redis_server: RedisServer, timeout: float
) -> None:
    """The connection itself would wait 2 s for an answer."""
    cache = EmbeddingCache(redis_server.url)
    embedder = Embedder("fake:dimension=4,name=silent", cache=cache, pool=Pool())
    embedder.encode("before")
    with redis_server.silent():
        took = []
        for text in ("a", "b", "c"):
            began = time.monotonic()
            embedder.encode(text, timeout=timeout)
            took.append(time.monotonic() - began)
        assert max(took) < timeout + 1
        assert min(took) < 0.2  # while a call is late, the others do without Redis
    wait_until(lambda: _is_stored(embedder, redis_server))


def _is_stored(embedder: Embedder, redis_server: RedisServer) -> bool:
    """Return whether the vector of a new text reaches Redis."""
    embedder.encode(os.urandom(8).hex(), timeout=10)
    with redis_server.client() as client:
        return bool(client.dbsize() > 1)


def test_a_redis_that_is_down_is_tried_once_a_cool_down(redis_server: RedisServer) -> None:
    cache = open_cache(far_only(redis_server.url))
    redis_server.stop()
    try:
        cache.get_many([KEY])
        began = time.perf_counter()
        for _ in range(1000):
            assert cache.get_many([KEY]) == {}
            assert cache.claim([KEY], 1) == {KEY}
        assert time.perf_counter() - began < 2
    finally:
        redis_server.start()


def test_a_connection_that_is_killed_is_made_anew_without_a_miss(redis_server: RedisServer) -> None:
    cache = open_cache(far_only(redis_server.url))
    cache.put_many({KEY: VECTOR})
    for _ in range(5):
        with redis_server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert cache.get_many([KEY])[KEY] == VECTOR
    assert cache.info().errors == 0


def test_a_full_memory_keeps_what_is_there_and_is_counted(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(far_only(redis_server.url))
    cache.put_many({KEY: VECTOR})
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
    with caplog.at_level(logging.WARNING, "hotstart"):
        cache.put_many({bytes([n]) * 20: VECTOR for n in range(5)})
        assert cache.claim([b"new"], 5) == {b"new"}
    assert cache.get_many([KEY])[KEY] == VECTOR
    assert cache.info().errors == 6
    assert len(caplog.records) == 1


def test_the_log_tells_once_that_redis_went_and_once_that_it_came_back(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(redis_server.url)
    with caplog.at_level(logging.WARNING, "hotstart"):
        for _ in range(2):
            redis_server.stop()
            for _ in range(3):
                store.get_many([KEY])
                time.sleep(0.3)
            redis_server.start()
            deadline = time.monotonic() + 20
            store.set_many({KEY: b"1"})
            while not store.get_many([KEY]):
                assert time.monotonic() < deadline
                time.sleep(0.1)
                store.set_many({KEY: b"1"})
    told = [record.message.split(": ", 1)[1] for record in caplog.records]
    assert [line.partition(" failed")[0] for line in told if "write" not in line] == [
        *("read", "read works again") * 2
    ]


@pytest.mark.parametrize("command", ["lpush", "sadd", "append"])
def test_another_value_under_our_key_is_a_miss_and_overwritten(
    redis_server: RedisServer, command: str
) -> None:
    cache = open_cache(far_only(redis_server.url))
    with redis_server.client() as client:
        getattr(client, command)(NAME, "foreign")
    assert cache.get_many([KEY]) == {}
    cache.put_many({KEY: VECTOR})
    assert cache.get_many([KEY])[KEY] == VECTOR


def test_a_damaged_value_is_a_miss_counted_and_overwritten(redis_server: RedisServer) -> None:
    cache = open_cache(far_only(redis_server.url))
    raw = bytearray(encode(VECTOR))
    raw[-1] ^= 1
    with redis_server.client() as client:
        client.set(NAME, bytes(raw))
    assert cache.get_many([KEY]) == {}
    assert cache.info().damaged == 1
    cache.put_many({KEY: VECTOR})
    assert KEY in cache.get_many([KEY])


def test_values_live_as_long_as_said(redis_server: RedisServer) -> None:
    open_cache(f"{redis_server.url}?ttl=100").put_many({KEY: VECTOR})
    with redis_server.client() as client:
        assert 90_000 < client.pttl(NAME) <= 100_000
    open_cache(redis_server.url).put_many({KEY: VECTOR})
    with redis_server.client() as client:
        assert client.pttl(NAME) == -1


def test_namespaces_know_nothing_of_each_other(redis_server: RedisServer) -> None:
    one, other = (open_store(f"{redis_server.url}?namespace={name}") for name in "ab")
    one.set_many({KEY: b"1"})
    assert other.get_many([KEY]) == {}
    assert [*other.keys()] == []
    assert one.claim([KEY], 5) == other.claim([KEY], 5) == {KEY}


@pytest.mark.parametrize("command", ["lpush", "sadd", "append"])
def test_another_value_in_the_place_of_a_lease_is_no_lease(
    redis_server: RedisServer, command: str
) -> None:
    """Else who waits for its end would wait for ever, or ask without a pause."""
    store, other = open_store(redis_server.url), open_store(redis_server.url)
    with redis_server.client() as client:
        getattr(client, command)(b"hotstart:l:" + KEY, "foreign")
    other.release([KEY])
    assert store.claim([KEY], 5) == {KEY}
    assert other.claim([KEY], 5) == set()
    assert store.info().errors == other.info().errors == 0


def test_a_redis_that_says_nothing_holds_nobody_up_for_long() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        assert store.get_many([KEY]) == {}
        assert time.monotonic() - began < 6
        assert store.claim([KEY], 5) == {KEY}
        assert store.info().errors == 2
        store.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parent_and_child_go_on_after_a_fork(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url)
    store.set_many({b"before": b"1"})
    assert store.claim([b"lease"], 20)
    child = os.fork()
    if not child:
        store.release([b"lease"])  # it is the parent's
        free = store.claim([b"lease"], 20)
        os._exit(0 if not free and store.get_many([b"before"]) == {b"before": b"1"} else 1)
    for _ in range(50):
        assert store.get_many([b"before"]) == {b"before": b"1"}
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.info().errors == 0


def test_a_batch_is_one_round_trip(redis_server: RedisServer) -> None:
    cache = open_cache(far_only(redis_server.url))
    keys = [bytes([n]) * 20 for n in range(100)]
    cache.put_many(dict.fromkeys(keys, VECTOR))
    with redis_server.client() as client:
        client.config_resetstat()
        assert len(cache.get_many(keys)) == 100
        said = client.info("commandstats")
    assert said["cmdstat_mget"]["calls"] == 1
    assert "cmdstat_get" not in said


def test_no_password_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        cache = open_cache("redis://user:hunter2@127.0.0.1:1/0")
        assert cache.get_many([KEY]) == {}
    assert caplog.records
    assert "hunter2" not in caplog.text
