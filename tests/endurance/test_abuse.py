"""A server under each attack: probes are answered in time, and the memory comes back."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.serving import Process, serving

pytestmark = pytest.mark.slow

CONFIG = """
[server]
timeout = 20
[models.minilm]
source = "all-MiniLM-L6-v2"
[models.stuck]
kind = "custom"
source = "registry.models:hanging"
"""
SECONDS = 5.0
MOST_P99 = 0.1 * 6  # a busy machine; the figure is printed
Attack = Callable[[int], object]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    environ = {"PYTHONPATH": str(Path(__file__).parent.parent), "MALLOC_ARENA_MAX": "2"}
    named = ("--config", "hotstart.toml")
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, CONFIG, *named, environ=environ) as started:
        started.wait_for("/readyz")
        with started.client() as client:
            client.post("/embed", json={"inputs": ["a text of words " * 40] * 64})
        yield started


def post(port: int, path: str, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"content-type": "application/json"})
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def opened(port: int, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    with contextlib.suppress(OSError):
        connection.sendall(content)
    return connection


HEAD = (
    b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n"
)
NUMBERS = b'{"model": "minilm", "input": ["a"' + b", 1" * 1_500_000 + b"]}"
FIELDS = b"{" + b",".join(b'"f%d": 1' % n for n in range(200_000)) + b"}"
LONG = b'{"inputs": "' + b"x " * 7_000_000 + b'"}'
DEEP = b'{"inputs": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}"
MANY = json.dumps({"model": "minilm", "input": ["a"] * 2048}).encode()


def endless_headers(port: int) -> None:
    with opened(port, b"GET / HTTP/1.1\r\n") as connection, contextlib.suppress(OSError):
        for _ in range(10_000):
            connection.sendall(b"x: " + b"a" * 10_000 + b"\r\n")


def endless_url(port: int) -> None:
    with opened(port, b"GET /") as connection, contextlib.suppress(OSError):
        for _ in range(4000):
            connection.sendall(b"a" * 10_000)


def reads_nothing(port: int) -> socket.socket:
    return opened(port, HEAD % len(MANY) + MANY)


def half_body(port: int) -> socket.socket:
    return opened(port, HEAD % 12_000_000 + b"a" * 6_000_000)


ATTACKS: dict[str, tuple[Attack, int]] = {
    "a million numbers": (lambda port: post(port, "/v1/embeddings", NUMBERS), 4),
    "unknown fields": (lambda port: post(port, "/v1/embeddings", FIELDS), 4),
    "a long text to predict": (
        lambda port: post(port, "/api/v1/models/minilm/predict", LONG),
        4,
    ),
    "deep": (lambda port: post(port, "/api/v1/models/minilm/predict", DEEP), 4),
    "endless headers": (endless_headers, 4),
    "endless url": (endless_url, 4),
    "answers that nobody reads": (reads_nothing, 30),
    "half bodies": (half_body, 80),
    "connections that never ask": (lambda port: opened(port, b"GET / HT"), 130),
    "keep_alive": (
        lambda port: post(port, "/embed", b'{"inputs": "a", "keep_alive": %d}' % (10**5 + port)),
        8,
    ),
    "predictions that hang": (
        lambda port: post(port, "/api/v1/models/stuck/predict", b'{"inputs": 1, "timeout": 1}'),
        4,
    ),
    "listeners": (
        lambda port: opened(port, b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n"),
        100,
    ),
}


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


class _Attackers:
    """Threads that repeat an attack until they are ended."""

    def __init__(self, attack: Attack, port: int, number: int) -> None:
        self._ending = threading.Event()
        self._held: list[socket.socket] = []
        self._threads = [
            threading.Thread(target=self._run, args=(attack, port), daemon=True)
            for _ in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, attack: Attack, port: int) -> None:
        while not self._ending.is_set():
            try:
                left = attack(port)
            except OSError:
                left = None
            if isinstance(left, socket.socket):  # one connection a thread is held
                self._held.append(left)
                return

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(90)
        for connection in self._held:
            connection.close()


def probes(port: int, seconds: float) -> list[float]:
    """Ask /livez again and again; return how long each answer took."""
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
        took.append(time.monotonic() - began)
        time.sleep(0.01)
    return sorted(took)


@pytest.mark.parametrize("name", ATTACKS)
def test_probes_are_answered_under(server: Process, name: str) -> None:
    attack, number = ATTACKS[name]
    port = int(server.url.rpartition(":")[2])
    before = resident_megabytes(server.pid)
    attackers = _Attackers(attack, port, number)
    try:
        took = probes(port, SECONDS)
        during = resident_megabytes(server.pid)
    finally:
        attackers.end()
    deadline = time.monotonic() + 90
    while resident_megabytes(server.pid) > 1.2 * before + 20 and time.monotonic() < deadline:
        time.sleep(0.1)
    after = resident_megabytes(server.pid)
    p99 = took[len(took) * 99 // 100]
    print(
        f"{name}: /livez p50 {1000 * took[len(took) // 2]:.0f} ms, p99 {1000 * p99:.0f} ms, "
        f"most {1000 * took[-1]:.0f} ms; {before:.0f}, {during:.0f}, {after:.0f} MB"
    )
    assert p99 < MOST_P99
    with server.client() as client:
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert after <= 1.2 * before + 20
