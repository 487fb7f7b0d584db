"""A real server on a real socket, in a thread of the test run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from hotstart import ModelRegistry
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config
from hotstart.server.app import create_app
from hotstart.server.config import ServerConfig
from hotstart.server.protocol import BoundedProtocol
from support.golden import RERANKERS

RERANKER = str(RERANKERS / "bert" / "model")
MODELS: dict[str, Any] = {
    "minilm": {"source": "all-MiniLM-L6-v2"},
    "fake": {"source": "fake:dimension=4,name=served"},
    "cached": {"source": "fake:dimension=4,name=served-cached", "cache": "memory:1MB"},
    "ranker": {"kind": "reranker", "source": RERANKER},
    "rows": {"kind": "custom", "source": "json:JSONDecoder"},
}


class Served:
    """A server under test.

    Attributes:
        url: where it is.
        client: asks it, over real connections.
        registry: what it serves.
    """

    def __init__(self, registry: ModelRegistry, config: ServerConfig) -> None:
        self.registry = registry
        self.app = create_app(registry, config)
        settings = uvicorn.Config(
            self.app, port=0, loop="uvloop", http=BoundedProtocol, log_config=None, ws="none"
        )
        self._server = uvicorn.Server(settings)
        self._server.capture_signals = _no_signals  # type: ignore[assignment,method-assign]
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        """Send JSON."""
        return self.client.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask for something."""
        return self.client.get(path, **options)

    def wait_for(self, status: str) -> None:
        """Return once the service says it is `status`."""
        deadline = time.monotonic() + 20
        while (told := self.get("/api/v1/models/health").json())["status"] != status:
            assert time.monotonic() < deadline, told
            time.sleep(0.01)

    def close(self) -> None:
        """End it."""
        self.client.close()
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.registry.close()


class _no_signals:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


Serve = Callable[..., Served]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a server over models, and options of ServerConfig; it ends with the test."""
    started: list[Served] = []

    def start(held: dict[str, Any] | None = None, **options: Any) -> Served:
        registry = ModelRegistry(read_config({"models": held or {}}), pool=Pool())
        served = Served(registry, ServerConfig(**options))
        started.append(served)
        return served

    monkeypatch.setattr("hotstart.server.service.GracefulShutdown.on_signals", lambda self: None)
    yield start
    for served in started:
        served.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server of one model of each kind, for those who only ask it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hotstart.server.service.GracefulShutdown.on_signals", lambda self: None)
        registry = ModelRegistry(read_config({"models": MODELS}), pool=Pool())
        config = ServerConfig(admin_key="admin", max_texts=100, max_characters=1000)
        made = Served(registry, config)
        made.wait_for("healthy")
        yield made
        made.close()
