"""A real redis-server on a port of its own, to be stopped, killed and filled up by tests."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from support.programs import require_program


class RedisServer:
    """`start` and `stop` may be called again and again; the port stays."""

    def __init__(self, *options: str) -> None:
        self._program = require_program("redis-server", package="redis-server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        settings = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir")
        folder = tempfile.gettempdir()
        self._process = subprocess.Popen(
            [self._program, *settings, folder, *self._options], stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return self
                except redis.ConnectionError:
                    assert time.monotonic() < deadline, "redis-server did not come up"
                    time.sleep(0.02)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(60)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Accept connections and answer nothing, as a frozen machine does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def client(self) -> Any:
        return redis.Redis(port=self.port)
