"""Leases that nobody should wait for."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cache.conftest import Opener
from hotstart import Embedder
from hotstart.cache import open_store
from hotstart.cache.store import LEASE
from hotstart.pool.pool import Pool
from support.redis_server import RedisServer


def test_the_owner_of_a_lease_gets_it_again(opener: Opener) -> None:
    owner, other = opener(), opener()
    assert owner.claim([b"a"], LEASE) == {b"a"}
    assert owner.claim([b"a", b"b"], LEASE) == {b"a", b"b"}
    assert other.claim([b"a"], LEASE) == set()


def test_a_lease_of_a_clock_that_was_ahead_does_not_count(opener: Opener) -> None:
    assert opener().claim([b"a"], 3600.0) == {b"a"}
    assert opener().claim([b"a"], LEASE) == {b"a"}


def test_a_full_database_makes_its_own_process_wait_for_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "vectors.db"
    embedder = Embedder("fake:dimension=384", cache=f"sqlite:{path}?near=1kB", pool=Pool())
    embedder.encode("the file exists")
    store = embedder._cached._cache._stores._far  # type: ignore[union-attr]
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    opened = store._connections._opened  # type: ignore[union-attr]

    def limited() -> sqlite3.Connection:
        connection = opened()
        connection.execute(f"PRAGMA max_page_count = {pages + 40}")
        return connection  # type: ignore[no-any-return]

    store._connections._opened = limited  # type: ignore[union-attr]
    for connection in store._connections._idle:  # type: ignore[union-attr]
        connection.close()
    store._connections._idle.clear()  # type: ignore[union-attr]
    texts = [f"text {number}" for number in range(600)]
    for _ in range(4):
        assert embedder.encode(texts, timeout=10).shape == (600, 384)
    assert embedder.cache_info().errors > 0


@pytest.fixture(params=[b"+OK\r\n", b":5\r\n", b"*1\r\n" * 5000 + b":1\r\n", b"-ERR no\r\n"])
def no_redis(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that gives one answer to whatever it is asked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65536):
                    connection.sendall(request.param)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    listener.close()


def test_what_speaks_no_redis_fails_the_cache_and_not_the_call(no_redis: str) -> None:
    embedder = Embedder("fake:dimension=8", cache=no_redis, pool=Pool())
    for number in range(3):
        assert embedder.encode([f"{number}", "text"], timeout=20).shape == (2, 8)


def test_a_full_redis_is_logged_once_and_once_when_it_works_again(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    embedder = Embedder("fake:dimension=384", cache=f"{redis_server.url}?near=1kB", pool=Pool())
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        for number in range(30):
            embedder.encode([f"{number} {text}" for text in range(20)])
        client.config_set("maxmemory", "0")
        embedder.encode([f"again {text}" for text in range(20)])
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) <= 4, lines


def test_a_lease_of_days_in_redis_is_taken_over(redis_server: RedisServer) -> None:
    store = open_store(str(redis_server.url))
    store.claim([b"a"], LEASE)
    with redis_server.client() as client:
        for name in client.keys("*:l:*"):
            client.pexpire(name, 11 * 24 * 3600 * 1000)
    other = open_store(str(redis_server.url))
    assert other.claim([b"a"], LEASE) == {b"a"}
    store.close()
    other.close()
