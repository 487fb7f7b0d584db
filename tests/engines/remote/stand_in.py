"""A real HTTP server with scripted answers: correct, slow, wrong, or none."""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import socketserver
import threading
import time
import zlib
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np

Answer = Callable[["Handler", dict[str, Any]], None]


def vector(text: str, dimension: int = 4) -> list[float]:
    return [float(np.float32(len(text) + n + 0.1)) for n in range(dimension)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        stand_in: StandIn = self.server.stand_in
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with stand_in.lock:
            stand_in.requests.append((self.path, dict(self.headers), body))
            texts = body.get("input", body.get("inputs", []))
            stand_in.texts.update(texts)
            answer = stand_in.script.popleft() if stand_in.script else stand_in.answer
        answer(self, body)

    def reply(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


class StandIn:
    """Answers each request with the next entry of `script`, then with `answer`."""

    def __init__(self, answer: Answer | None = None, path: str | None = None) -> None:
        self.answer: Answer = answer or openai()
        self.script: deque[Answer] = deque()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.texts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.connections = 0
        self._path = path
        outer = self

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True
            request_queue_size = 64
            address_family = socket.AF_UNIX if path else socket.AF_INET

            def process_request(self, request: Any, client_address: Any) -> None:
                outer.connections += 1
                super().process_request(request, client_address or ("unix", 0))

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Ignore errors of clients that disconnected."""

        self._server = Server(path or ("127.0.0.1", 0), Handler)  # type: ignore[arg-type]
        self._server.stand_in = self  # type: ignore[attr-defined]
        self.url = f"unix:{path}" if path else f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        if self._path:
            os.unlink(self._path)


def openai(
    *, base64_too: bool = True, reverse: bool = False, change: Callable[[Any], Any] | None = None
) -> Answer:
    """Answer as OpenAI does; `change` modifies the answer."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        entries = []
        for index, text in enumerate(body["input"]):
            embedding: Any = vector(text)
            if base64_too and body.get("encoding_format") == "base64":
                embedding = base64.b64encode(np.array(embedding, "<f4").tobytes()).decode()
            entries.append({"object": "embedding", "index": index, "embedding": embedding})
        if reverse:
            entries.reverse()
        content: Any = {"object": "list", "data": entries, "model": body.get("model")}
        handler.reply(200, json.dumps(change(content) if change else content).encode())

    return answer


def hotstart(fingerprint: str, offset: float = 0.0) -> Answer:
    """Answer as a hotstart server whose model has `fingerprint` and vectors greater by `offset`."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        data = [
            {"index": index, "embedding": [value + offset for value in vector(text)]}
            for index, text in enumerate(body["input"])
        ]
        handler.reply(200, json.dumps({"data": data, "fingerprint": fingerprint}).encode())

    return answer


def tei(handler: Handler, body: dict[str, Any]) -> None:
    handler.reply(200, json.dumps([vector(text) for text in body["inputs"]]).encode())


def status(code: int, message: str = "", **headers: str) -> Answer:
    return lambda handler, body: handler.reply(code, message.encode(), **headers)


def raw(content: bytes) -> Answer:
    return lambda handler, body: handler.reply(200, content)


def cut_off(handler: Handler, body: dict[str, Any]) -> None:
    """Send less than the Content-Length, then disconnect."""
    handler.send_response(200)
    handler.send_header("Content-Length", "10000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def reset(handler: Handler, body: dict[str, Any]) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def silent(seconds: float) -> Answer:
    return lambda handler, body: time.sleep(seconds)


def trickle(seconds: float) -> Answer:
    """Send a byte every 20 ms, so no single read is slow."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
        handler.close_connection = True

    return answer


def slow_headers(seconds: float) -> Answer:
    """Send a byte of a header every 20 ms."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        _send_slowly(handler, b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", seconds)

    return answer


def early_hints(seconds: float) -> Answer:
    """Send an informational answer every 20 ms."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        _send_slowly(handler, b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", seconds)

    return answer


def empty_gzip(seconds: float) -> Answer:
    """Send compressed data of nothing every 20 ms."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        compressor = zlib.compressobj(wbits=31)
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
        first = compressor.flush(zlib.Z_SYNC_FLUSH)
        start = head + b"%x\r\n%b\r\n" % (len(first), first)
        nothing = compressor.flush(zlib.Z_FULL_FLUSH) or b"\x00\x00\x00\xff\xff"
        _send_slowly(handler, start, b"%x\r\n%b\r\n" % (len(nothing), nothing), seconds)

    return answer


def _send_slowly(handler: Handler, start: bytes, piece: bytes, seconds: float) -> None:
    end = time.monotonic() + seconds
    handler.close_connection = True
    try:
        handler.wfile.write(start)
        while time.monotonic() < end:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:  # the client left
        return


def large(megabytes: int, times: int = 1) -> Answer:
    """Send so many megabytes of blanks, compressed so many times."""

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        content = b" " * (megabytes * 1_000_000)
        for _ in range(times):
            content = gzip.compress(content, compresslevel=1)
        handler.reply(200, content, Content_Encoding=", ".join(["gzip"] * times))

    return answer
