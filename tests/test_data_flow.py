"""How many files of ours one warm text crosses: a reader has to open that many, and no more.

Each count is taken in a fresh interpreter: what other tests switch on (tracing) adds files.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import FrameType
from typing import Any

import httpx
import pytest

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


def count_encode() -> list[str]:
    embedder = loaded()
    return files_crossed(lambda: embedder.encode("a text"))


def count_cached_encode() -> list[str]:
    embedder = loaded(cache="memory:1MB")
    return files_crossed(lambda: embedder.encode("a text"))


def count_aencode() -> list[str]:
    embedder = loaded()
    return files_crossed(lambda: asyncio.run(embedder.aencode("a text")))


def count_post() -> list[str]:
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
        return files_crossed(lambda: asyncio.run(ask("POST", "/v1/embeddings", body)))


def count_search() -> list[str]:
    folder = Path(tempfile.mkdtemp())
    (folder / "notes.md").write_text("# Models\n\nIdle models are evicted first.\n")
    index = SearchIndex(folder, Embedder())
    index.update()
    assert index.search("which models go first?").mode == "hybrid"
    return files_crossed(lambda: index.search("which models are evicted?"))


COUNTS = {
    "encode": (count_encode, 11, {"embedder.py", "engines/onnx.py"}),
    "encode with a memory cache": (count_cached_encode, 16, {"cache/tiered.py", "engines/onnx.py"}),
    "aencode": (count_aencode, 13, {"pool/batching.py", "engines/onnx.py"}),
    "POST /v1/embeddings": (count_post, 25, {"server/routes/openai.py", "engines/onnx.py"}),
    "hybrid search": (count_search, 23, {"search/index.py", "engines/onnx.py"}),
}


@pytest.mark.parametrize("call", COUNTS)
def test_one_warm_text_crosses_few_files(
    python: Callable[..., CompletedProcess[str]], call: str
) -> None:
    _, most, expected = COUNTS[call]
    done = python(__file__, call)
    assert done.returncode == 0, done.stderr
    crossed = json.loads(done.stdout)
    assert expected <= set(crossed)
    assert len(crossed) <= most, crossed


if __name__ == "__main__":
    print(json.dumps(COUNTS[sys.argv[1]][0]()))
