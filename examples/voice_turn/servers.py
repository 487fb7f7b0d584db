"""The two servers of the example, real ones, in processes that end with it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE = 20  # seconds for a server to come up


@contextmanager
def embedding_service(least: float, most: float, seed: int = 1) -> Iterator[str]:
    """Yield the address of the stand-in, `http://HOST:PORT`."""
    options = ("--least", str(least), "--most", str(most), "--seed", str(seed))
    command = [sys.executable, "-m", "examples.voice_turn.stand_in", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def counts(service: str) -> dict[str, Any]:
    """Return how many requests the stand-in had, and how often each text."""
    with urllib.request.urlopen(f"{service}/counts", timeout=_PATIENCE) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


@contextmanager
def redis_server() -> Iterator[str]:
    """Yield the address of a Redis that keeps nothing beyond this program."""
    if shutil.which("redis-server") is None:
        raise SystemExit(
            "redis-server is not installed. Run: apt-get install redis-server, or give --redis URL"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                _until_it_listens(port)
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                process.kill()


def _until_it_listens(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
