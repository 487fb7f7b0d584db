"""Clients that ask slowly, at length, or read nothing: the server outlives them."""

from __future__ import annotations

import socket
import time

import pytest

from hotstart.server import middleware, protocol
from support.server import Serve, Served
from support.waiting import wait_until

FAKE = {"fake": {"source": "fake:dimension=1024"}}


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=30)


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end of the connection; what comes before it does not matter."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.mark.parametrize(
    "part", [b"x-filler: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["headers", "url"]
)
def test_a_head_is_bounded(serve: Serve, part: bytes) -> None:
    served = serve(FAKE)
    with connected(served) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" if part.startswith(b"x") else b"GET /")
        answer = b""
        for _ in range(10_000):
            try:
                connection.sendall(part)
            except OSError:  # a broken pipe, or a reset
                break
            answer = answer or _at_once(connection)
        else:
            pytest.fail("a head of 10 MB was read")
        assert answer[:12] in {b"", b"HTTP/1.1 431"}
    assert served.get("/livez").status_code == 200


def _at_once(connection: socket.socket) -> bytes:
    connection.setblocking(False)
    try:
        return connection.recv(65536)
    except BlockingIOError:
        return b""
    finally:
        connection.setblocking(True)


def test_a_head_in_one_piece_with_a_large_body_is_read(serve: Serve) -> None:
    served = serve(FAKE)
    texts = ["a text " * 100] * 300
    assert served.post("/v1/embeddings", {"model": "fake", "input": texts}).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nhost: localhost\r\n"])
def test_a_connection_that_does_not_ask_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.2)
    served = serve(FAKE)
    with connected(served) as connection:
        connection.sendall(sent)
        assert is_closed(connection)
    # A second request on one connection has the same time.
    with connected(served) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\nGET /livez HTTP/1.1\r\n")
        assert is_closed(connection)


def asking(served: Served, texts: int, buffer: int = 4096) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", served.port))
    body = b'{"model": "fake", "input": [' + b",".join([b'"a"'] * texts) + b"]}"
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    connection.sendall(head + body)
    return connection


def test_a_client_that_reads_nothing_is_disconnected(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(protocol, "_UNREAD_SECONDS", 0.2)
    served = serve(FAKE)
    with asking(served, 1000):
        wait_until(lambda: protocol.unread_bytes() > 0)
        wait_until(lambda: protocol.unread_bytes() == 0)
    assert served.get("/livez").status_code == 200


def test_unread_answers_are_bounded_in_all(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_MOST_HELD", 4_000_000)
    served = serve(FAKE)
    with asking(served, 1000):
        wait_until(lambda: protocol.unread_bytes() > 4_000_000)
        answer = served.post("/v1/embeddings", {"model": "fake", "input": "a"})
        assert answer.status_code == 503
        assert "do not read" in answer.json()["error"]["message"]
        assert served.get("/livez").status_code == 200
    wait_until(lambda: protocol.unread_bytes() == 0)
    assert served.post("/v1/embeddings", {"model": "fake", "input": "a"}).status_code == 200


def test_bodies_are_bounded_in_all(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_MOST_HELD", 1_000_000)
    served = serve(FAKE)
    half = (
        b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 2000000\r\n\r\n" + b"a" * 600_000
    )
    with connected(served) as first, connected(served) as second:
        first.sendall(half)
        second.sendall(half)
        answers = [b""]

        def answered() -> bool:
            answers.extend(filter(None, map(_at_once, (first, second))))
            return bool(answers[-1])

        wait_until(answered)
        assert answers[-1].startswith(b"HTTP/1.1 503")
    wait_until(lambda: served.post("/embed", {"inputs": "a"}).status_code == 200)


def test_a_slow_reader_gets_its_whole_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(protocol, "_UNREAD_SECONDS", 1.0)
    served = serve(FAKE)
    with asking(served, 300, buffer=262_144) as connection:
        read = connection.recv(4096)
        length = int(read.split(b"content-length: ")[1].split(b"\r\n")[0])
        rest = length - len(read.split(b"\r\n\r\n", 1)[1])
        began = time.monotonic()
        while rest > 0:
            time.sleep(0.01 if time.monotonic() - began < 2 else 0)
            rest -= len(connection.recv(16384))
    assert rest == 0
