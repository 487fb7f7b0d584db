"""One embedder for a whole program, in a process of its own: what it decides stays decided."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

Python = Callable[..., "CompletedProcess[str]"]


def test_it_is_the_same_everywhere(python: Python) -> None:
    code = (
        "from hotstart import preload_embeddings, get_embedding_provider as get\n"
        "preload_embeddings('fake:dimension=5')\n"
        "preload_embeddings('fake:dimension=9')\n"
        "print(get(timeout=60) is get(), get().encode('a').shape)"
    )
    assert python("-c", code).stdout == "True (5,)\n"


def test_preloading_returns_at_once(python: Python) -> None:
    """The promise is 1 ms; the import is not part of it."""
    code = (
        "import time; from hotstart import preload_embeddings as preload\n"
        "t = time.perf_counter(); preload('fake:load_seconds=2'); print(time.perf_counter() - t)"
    )
    assert float(python("-c", code).stdout) < 0.5


def test_none_where_it_failed_or_is_late(python: Python) -> None:
    code = (
        "from hotstart import preload_embeddings, get_embedding_provider as get\n"
        "preload_embeddings('{source}'); print(get(timeout=0.2))"
    )
    for source in ("nobody/nothing", "fake:load_seconds=2"):
        assert python("-c", code.format(source=source)).stdout == "None\n"
