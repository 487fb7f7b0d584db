"""An HTTP server for the dashboard's files, with a fake service behind it.

To see the page: `PYTHONPATH=src:tests python -m server.dashboard_server --admin-key KEY`.
"""

from __future__ import annotations

import argparse
import json
import mimetypes
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from server.fake_service import STAGES, FakeService

FOLDER = Path(__file__).parents[2] / "src" / "hotstart" / "server" / "dashboard"
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


class Problem(Exception):
    """A request to answer with a problem document."""

    def __init__(self, status: HTTPStatus, detail: str, remedy: str = "") -> None:
        self.status, self.detail, self.remedy = status, detail, remedy


@contextmanager
def serving(service: FakeService) -> Iterator[str]:
    """Serve the page and `service` on a free port; yield the URL."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.service = service
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        service.hybrid.set()
        service.drop()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    service: FakeService


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        if self.path == "/events":
            self._respond(self._events)
        elif self.path == "/api/v1/models/registry":
            self._respond(lambda: self._json(self.server.service.overview()))
        else:
            name = "index.html" if self.path == "/" else self.path.removeprefix("/dashboard/")
            self._respond(lambda: self._file(name))

    def do_POST(self) -> None:
        self._respond(self._post)

    def _respond(self, handler: Callable[[], None]) -> None:
        try:
            handler()
        except Problem as error:
            document = {
                "type": "about:blank",
                "title": error.status.phrase,
                "status": error.status,
                "detail": error.detail,
                "remedy": error.remedy,
            }
            self._json(document, error.status, "application/problem+json")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _post(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length))
        self.server.service.requests.append((self.path, body))
        if self.path == "/search":
            self._key(self.server.service.api_key)
            self._json(_search(self.server.service, body))
        else:
            self._act(body)

    def _act(self, body: dict[str, Any]) -> None:
        service = self.server.service
        if service.admin_key is None:
            raise Problem(HTTPStatus.FORBIDDEN, "No admin key is configured.")
        self._key(service.admin_key)
        *_, name, action = unquote(self.path).split("/")
        if action == "load" and name == "static":
            raise Problem(HTTPStatus.CONFLICT, "The model is in use.", "Try again later.")
        if action == "load":
            service.begin_load(name)
        elif action == "unload":
            service.unload(name)
        self._json(service.health())

    def _events(self) -> None:
        service = self.server.service
        self._key(service.api_key)
        if service.down:
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "The service is shutting down.")
        self._head(HTTPStatus.OK, "text/event-stream")
        stream = service.listen()
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
            raise Problem(HTTPStatus.UNAUTHORIZED, "The request needs a valid key.")

    def _file(self, name: str) -> None:
        file = FOLDER / name
        if not file.is_file() or file.parent != FOLDER:
            raise Problem(HTTPStatus.NOT_FOUND, f"There is no {self.path}.")
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


def _search(service: FakeService, body: dict[str, Any]) -> dict[str, Any]:
    if body["timeout"] is None:
        service.hybrid.wait(60)
    hybrid = service.hybrid.is_set()
    hits = [
        {
            "path": path,
            "start_line": 3,
            "end_line": 9,
            "heading": "Guide > Storage",
            "text": PASSAGES[path],
            "score": 0.75,
            "found_by": ["lexical", "semantic"] if hybrid else ["lexical"],
            "line": 5,
            "lines": [{"number": 5, "text": f"  \U0001f512 {PASSAGES[path]}", "matches": [[4, 8]]}],
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


def _play(service: FakeService) -> None:
    """Repeat slow loads, with requests all the time."""
    while True:
        for name, pace in (("vision", 0.9), ("e5-large", 0.6)):
            service.begin_load(name)
            for stage in STAGES[1:]:
                for step in range(1, 5):
                    time.sleep(pace / 2)
                    service.advance(name, step / 5)
                    service.count(random.lognormvariate(-5, 0.8))
                service.next_stage(name, stage)
            time.sleep(pace)
            service.finish_load(name)
            service.hybrid.set()
        time.sleep(6)
        service.unload("vision")
        service.unload("e5-large")
        service.hybrid.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--api-key")
    parser.add_argument("--admin-key")
    parser.add_argument("--models", type=int, default=0, help="number of additional models")
    arguments = parser.parse_args()
    service = FakeService(api_key=arguments.api_key, admin_key=arguments.admin_key)
    service.add_models(arguments.models)
    with serving(service) as url:
        print(url, flush=True)
        _play(service)


if __name__ == "__main__":
    main()
