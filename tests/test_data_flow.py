"""How many files of ours one warm text crosses: a reader has to open that many, and no more."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

import hotstart
import hotstart.pool.aio
import hotstart.pool.batching
from hotstart import Embedder, ModelRegistry, SearchIndex
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config
from hotstart.server.app import create_app
from hotstart.server.config import ServerConfig

HOME = os.path.dirname(str(hotstart.__file__))


def files_crossed(call: Callable[[], object]) -> list[str]:
    """Return the files of the package whose functions run in `call`, in threads it starts too."""
    crossed: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(HOME):
            crossed.add(os.path.relpath(path, HOME))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(crossed)


def loaded(**options: Any) -> Embedder:
    """Return an embedder with a warm model of its own, whose threads are not started yet."""
    embedder = Embedder(pool=Pool(), **options)
    embedder.encode("warm")
    return embedder


def test_encode_crosses_few_files() -> None:
    embedder = loaded()
    crossed = files_crossed(lambda: embedder.encode("a text"))
    assert {"embedder.py", "engines/onnx.py"} <= set(crossed)
    assert len(crossed) <= 11, crossed


def test_encode_with_a_memory_cache_crosses_few_files() -> None:
    embedder = loaded(cache="memory:1MB")
    crossed = files_crossed(lambda: embedder.encode("a text"))
    assert {"embedder.py", "engines/onnx.py", "cache/tiered.py"} <= set(crossed)
    assert len(crossed) <= 16, crossed


def test_aencode_crosses_few_files() -> None:
    embedder = loaded()
    crossed = files_crossed(lambda: asyncio.run(embedder.aencode("a text")))
    assert {"embedder.py", "engines/onnx.py", "pool/batching.py"} <= set(crossed)
    assert len(crossed) <= 13, crossed


def test_a_post_of_one_text_crosses_few_files() -> None:
    models = {"minilm": {"source": "all-MiniLM-L6-v2", "strategy": "eager"}}
    with ModelRegistry(read_config({"models": models}), pool=Pool()) as registry:
        registry.get_model("minilm", timeout=60).encode("warm")
        app = create_app(registry, ServerConfig())

        async def ask(method: str, path: str, body: object = None) -> None:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                answer = await http.request(method, path, json=body)
                assert answer.status_code == 200, answer.text

        asyncio.run(ask("GET", "/v1/models"))  # FastAPI builds its middleware at the first request
        body = {"model": "minilm", "input": "a text"}
        crossed = files_crossed(lambda: asyncio.run(ask("POST", "/v1/embeddings", body)))
    assert {"server/routes/openai.py", "embedder.py", "engines/onnx.py"} <= set(crossed)
    assert len(crossed) <= 25, crossed


def test_a_hybrid_search_crosses_few_files(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Models\n\nIdle models are evicted first.\n")
    index = SearchIndex(tmp_path, Embedder())
    index.update()
    assert index.search("which models go first?").mode == "hybrid"
    crossed = files_crossed(lambda: index.search("which models are evicted?"))
    assert {"search/index.py", "engines/onnx.py"} <= set(crossed)
    assert len(crossed) <= 16, crossed
