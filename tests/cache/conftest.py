from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hotstart.cache import open_store
from hotstart.cache.store import ByteStore
from support.redis_server import RedisServer


@pytest.fixture(scope="session")
def _running() -> Iterator[RedisServer]:
    server = RedisServer().start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_running: RedisServer) -> RedisServer:
    """A server that runs, with nothing in it. Who stops it starts it again."""
    with _running.client() as client:
        client.flushall()
        client.config_set("maxmemory", "0")
    return _running


Place = str
Opener = Callable[[], ByteStore]


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """The address of a store that processes share."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'vectors.db'}"
    return str(request.getfixturevalue("redis_server").url)


@pytest.fixture
def opener(place: Place) -> Iterator[Opener]:
    """Opens one and the same place again and again, as processes that share it do."""
    opened: list[ByteStore] = []

    def open_it() -> ByteStore:
        opened.append(open_store(place))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()
