"""How large a request may be, how long it may take, and what it may be made of."""

from __future__ import annotations

import json
import socket
import time

import pytest

from hotstart.server import middleware as gate
from support.server import Serve, Served

JSON = {"content-type": "application/json"}


def raw(served: Served, *parts: bytes, wait: float = 10) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), timeout=wait) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while b"\r\n\r\n" not in answer and (got := connection.recv(65536)):
            answer += got
        return answer


def test_declared_large_body_is_refused_unread(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:"}}, max_body=1000)
    head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    answer = raw(served, head + b"content-length: 1001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"max_body" in served.post("/embed", {"inputs": "a" * 2000}).content
    assert served.post("/embed", {"inputs": "a" * 500}).status_code == 200


def test_body_without_length_is_read_up_to_limit(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:"}}, max_body=1000)
    body = json.dumps({"inputs": "a" * 3000}).encode()
    chunks = (body[start : start + 100] for start in range(0, len(body), 100))
    assert served.client.post("/embed", content=chunks, headers=JSON).status_code == 413
    small = (part for part in (b'{"inputs"', b': "a"}'))
    assert served.client.post("/embed", content=small, headers=JSON).status_code == 200


def test_slow_body_times_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_BODY_SECONDS", 0.2)
    served = serve({"fake": {"source": "fake:"}})
    head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    began = time.monotonic()
    answer = raw(served, head + b'content-length: 100\r\n\r\n{"inputs"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_body_that_is_not_json_is_refused(served: Served, content_type: str) -> None:
    answer = served.client.post(
        "/embed", content=b'{"inputs": "a"}', headers={"content-type": content_type}
    )
    assert answer.status_code == 415
    charset = {"content-type": "application/json; charset=utf-8"}
    assert served.client.post("/embed", content=b'{"inputs": "a"}', headers=charset).is_success


def test_invalid_content_length_is_refused(served: Served) -> None:
    head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    assert raw(served, head + b"content-length: -5\r\n\r\n").startswith(b"HTTP/1.1 4")
    assert raw(served, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_websocket_is_closed(served: Served) -> None:
    head = (
        b"GET /events HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " not in raw(served, head).split(b"\r\n")[0]


def test_unknown_path_returns_problem(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:"}}, admin_key="admin")
    headers = {"x-api-key": "admin"}
    assert served.get("/none", headers=headers).status_code == 404
    assert served.client.put("/embed", json={}, headers=headers).status_code == 405
    problem = served.get("/none", headers=headers).json()
    assert problem["detail"] == "There is no route /none"
    assert served.get("/v1/none", headers=headers).json()["error"]["type"]


def test_responses_forbid_caching(served: Served) -> None:
    headers = served.get("/v1/models").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers or headers["server"] == "uvicorn"


@pytest.mark.parametrize("path", ["/livez", "/health", "/v1/models", "/", "/events"])
def test_head_is_answered_as_get_without_a_body(served: Served, path: str) -> None:
    answer = served.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")
    if path != "/events":
        got = served.client.get(path)
        for name in ("content-type", "content-length"):
            assert answer.headers[name] == got.headers[name]


def test_a_refused_method_names_those_that_are_allowed(served: Served) -> None:
    answer = served.client.delete("/v1/models", headers=JSON)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["type"] == "invalid_request_error"
    unknown = served.client.post("/v1/chat/completions", json={})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")


def test_an_encoded_body_is_refused(served: Served) -> None:
    answer = served.client.post(
        "/embed", content=b"\x1f\x8b", headers={**JSON, "content-encoding": "gzip"}
    )
    assert answer.status_code == 415
    assert "gzip" in answer.text
