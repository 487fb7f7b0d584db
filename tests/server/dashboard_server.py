"""A stand-in server for the page: its files, and an acted service in the server's shapes.

For a look by eye: `PYTHONPATH=src:tests python -m server.dashboard_server --admin-key KEY`.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from server.fake_service import STAGES, FakeService

PAGE = Path(__file__).parents[2] / "src" / "hotstart" / "server" / "dashboard"
POLICY = "default-src 'self'; style-src 'self'; script-src 'self'; img-src 'self' data:"
HEARTBEAT = 15.0

PASSAGES = {
    "docs/cache.md": "A killed writer leaves no half file: an artifact is renamed into its place.",
    "docs/models.md": "An artifact is a prepared folder: graph, weights, tokenizer.",
    "docs/registry.md": "Write a file beside and rename it: half a file is a failed reload.",
    "docs/search.md": "What is found by the words alone is answered while the model loads.",
}
LEXICAL = ("docs/models.md", "docs/cache.md", "docs/search.md")
HYBRID = ("docs/cache.md", "docs/registry.md", "docs/models.md")


class Refusal(Exception):
    """A request that is answered by a problem document."""

    def __init__(self, status: HTTPStatus, detail: str, remedy: str = "") -> None:
        self.status, self.detail, self.remedy = status, detail, remedy


@contextmanager
def serving(world: FakeService) -> Iterator[str]:
    """Serve the page and `world` on a free port; yield the address."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.world = world
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        world.hybrid.set()
        world.drop()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    world: FakeService


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests are quiet."""

    def do_GET(self) -> None:
        if self.path == "/events":
            self._answer(self._events)
        elif self.path == "/api/v1/models/registry":
            self._answer(lambda: self._json(self.server.world.overview()))
        else:
            name = "index.html" if self.path == "/" else self.path.removeprefix("/dashboard/")
            self._answer(lambda: self._file(name))

    def do_POST(self) -> None:
        self._answer(self._posted)

    def _answer(self, how: Any) -> None:
        try:
            how()
        except Refusal as refusal:
            problem = {
                "type": "about:blank",
                "title": refusal.status.phrase,
                "status": refusal.status,
                "detail": refusal.detail,
                "remedy": refusal.remedy,
            }
            self._json(problem, refusal.status, "application/problem+json")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _posted(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        self.server.world.requests.append((self.path, body))
        if self.path == "/search":
            self._key(self.server.world.api_key)
            self._json(_searched(self.server.world, body))
        else:
            self._act(body)

    def _act(self, body: dict[str, Any]) -> None:
        world = self.server.world
        if world.admin_key is None:
            raise Refusal(HTTPStatus.FORBIDDEN, "No admin key is configured.")
        self._key(world.admin_key)
        *_, name, action = unquote(self.path).split("/")
        if action == "load" and name == "static":
            raise Refusal(HTTPStatus.CONFLICT, "It is in use.", "Try again later.")
        if action == "load":
            world.begin_load(name)
        elif action == "unload":
            world.unload(name)
        self._json(world.health())

    def _events(self) -> None:
        world = self.server.world
        self._key(world.api_key)
        if world.down:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "The service is shutting down.")
        self._head(HTTPStatus.OK, "text/event-stream")
        stream = world.listen()
        while True:
            try:
                text = stream.get(timeout=HEARTBEAT)
            except queue.Empty:
                text = ": still here\n\n"
            if text is None:
                return
            self.wfile.write(text.encode())

    def _key(self, wanted: str | None) -> None:
        if wanted and self.headers.get("Authorization") != f"Bearer {wanted}":
            raise Refusal(HTTPStatus.UNAUTHORIZED, "This needs a key.")

    def _file(self, name: str) -> None:
        file = PAGE / name
        if not file.is_file() or file.parent != PAGE:
            raise Refusal(HTTPStatus.NOT_FOUND, f"There is no {self.path}.")
        self._head(HTTPStatus.OK, mimetypes.guess_type(name)[0] or "text/plain")
        self.wfile.write(file.read_bytes())

    def _json(
        self, data: Any, status: HTTPStatus = HTTPStatus.OK, kind: str = "application/json"
    ) -> None:
        self._head(status, kind)
        self.wfile.write(json.dumps(data).encode())

    def _head(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()


def _searched(world: FakeService, body: dict[str, Any]) -> dict[str, Any]:
    if body["deadline"] is None:
        world.hybrid.wait(30)
    hybrid = world.hybrid.is_set()
    hits = [
        {
            "path": path,
            "start_line": 3,
            "end_line": 9,
            "heading": "Guide > How it is kept",
            "text": PASSAGES[path],
            "score": 0.03,
            "found_by": ["lexical", "semantic"] if hybrid else ["lexical"],
        }
        for path in (HYBRID if hybrid else LEXICAL)
    ]
    return {
        "mode": "hybrid" if hybrid else "lexical",
        "reason": None if hybrid else "minilm is loading (first light)",
        "seconds": 0.012 if hybrid else 0.003,
        "model": "minilm" if hybrid else None,
        "engine": "onnx" if hybrid else None,
        "hits": hits,
    }


def _play(world: FakeService) -> None:
    """Slow loads, over and over, and requests that never end."""
    while True:
        for name, pace in (("vision", 0.9), ("e5-large", 0.6)):
            world.begin_load(name)
            for stage in STAGES[1:]:
                for step in range(1, 5):
                    time.sleep(pace / 2)
                    world.advance(name, step / 5)
                    world.count(random.lognormvariate(-5, 0.8))
                world.next_stage(name, stage)
            time.sleep(pace)
            world.finish_load(name)
            world.hybrid.set()
        time.sleep(6)
        world.unload("vision")
        world.unload("e5-large")
        world.hybrid.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-key")
    parser.add_argument("--admin-key")
    parser.add_argument("--models", type=int, default=0, help="so many more")
    arguments = parser.parse_args()
    world = FakeService(api_key=arguments.api_key, admin_key=arguments.admin_key)
    world.add_models(arguments.models)
    with serving(world) as url:
        print(url, flush=True)
        _play(world)


if __name__ == "__main__":
    main()
