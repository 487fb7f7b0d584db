"""What is imported when. Names decide; times are bounded where the margin is several-fold."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

THIRD_PARTY = (
    "[m for m in sys.modules if m.partition('.')[0] not in sys.stdlib_module_names "
    "and m.partition('.')[0] not in {'hotstart', '__main__', 'sitecustomize'} "
    "and not m.startswith(('_distutils', '__editable__', '_virtualenv'))]"
)
Python = Callable[..., "CompletedProcess[str]"]


def third_party(python: Python, code: str) -> list[str]:
    done = python("-c", f"import sys, json; {code}; print(json.dumps({THIRD_PARTY}))")
    assert done.returncode == 0, done.stderr
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    names = {name.partition(".")[0] for name in modules}
    return sorted(name for name in names if "cython" not in name)  # NumPy 1 has modules of it


def milliseconds_over_bare(code: str) -> float:
    """Median over 15 alternating runs of `python -c code`, less that of `python -c pass`."""
    times: dict[str, list[float]] = {"pass": [], code: []}
    for _ in range(15):
        for each in times:
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", each], check=True, stdout=subprocess.DEVNULL)
            times[each].append(time.perf_counter() - began)
    return 1000 * (statistics.median(times[code]) - statistics.median(times["pass"]))


@pytest.mark.parametrize(
    "code",
    [
        "import hotstart",
        "from hotstart import Embedder; e = Embedder(); assert e.dimension == 384; e.status()",
        "from hotstart import Embedder; assert Embedder('openai:text-embedding-3-small').dimension",
        "from hotstart.cli.parser import build_parser; build_parser()",
        "from hotstart import HotstartError",
    ],
)
def test_nothing_of_others_is_imported(python: Python, code: str) -> None:
    assert third_party(python, code) in ([], ["platformdirs"])


def test_import_hotstart_imports_nothing_else(python: Python) -> None:
    code = "import sys; b = set(sys.modules); import hotstart; print(*sorted(set(sys.modules) - b))"
    imported = set(python("-I", "-c", code).stdout.split())
    assert imported - {"__future__"} == {"hotstart", "hotstart._exports", "hotstart._version"}


def test_a_load_imports_what_runs_a_model_and_nothing_that_prepares_one(python: Python) -> None:
    ready = "from hotstart import Embedder; Embedder().encode('a')"
    third_party(python, ready)  # prepared by now
    assert third_party(python, ready) == ["numpy", "tokenizers"]


@pytest.mark.parametrize(
    "call",
    [
        "embed_query('a')",
        "embed_documents(['a', 'b'])",
        "encode('a', convert_to_numpy=False, normalize_embeddings=True, truncate_dim=8)",
        "next(iter(e.encode_stream(['a'], convert_to_numpy=False)))",
    ],
)
def test_a_first_vector_as_a_list_imports_neither_numpy_nor_onnxruntime(
    python: Python, call: str
) -> None:
    call = call if call.startswith("next") else f"e.{call}"
    ready = f"from hotstart import Embedder; e = Embedder(); {call}"
    third_party(python, "from hotstart import Embedder; Embedder().encode('a')")  # prepared by now
    assert third_party(python, ready) == ["tokenizers"]


def test_a_cached_vector_imports_no_numpy(python: Python, tmp_path: Path) -> None:
    third_party(python, "from hotstart import Embedder; Embedder().encode('a')")  # prepared by now
    for cache in ("memory:1MB", f"sqlite:{tmp_path / 'vectors.db'}?precision=float16"):
        code = f"from hotstart import Embedder; e = Embedder(cache={cache!r}); e.prefetch('b')"
        ready = f"{code}; a = e.embed_query('a'); assert a == e.embed_query('a')"
        assert third_party(python, f"{ready}; e.embed_query('b')") == ["tokenizers"]


def test_a_first_vector_imports_no_slow_module_of_the_standard_library(python: Python) -> None:
    """What tokenizers imports by itself is its own."""
    theirs = "import sys, tokenizers; before = set(sys.modules)"
    ready = "from hotstart import Embedder; Embedder().embed_query('a')"
    third_party(python, ready)  # prepared by now
    code = f"{theirs}; {ready}; print(*sorted(set(sys.modules) - before))"
    imported = set(python("-c", code).stdout.split())
    slow = "shutil bz2 lzma logging concurrent.futures asyncio importlib.metadata hashlib tempfile"
    others = {"inspect", "dataclasses", "subprocess", "http.client", "importlib.util"}
    assert not imported & {*slow.split(), *others}


def test_a_search_imports_nothing_that_prepares_a_model(python: Python) -> None:
    code = "import sys, hotstart.cli.search; print(*sys.modules)"
    imported = python("-c", code).stdout.split()
    assert "hotstart.cli.search" in imported
    assert not [name for name in imported if name.startswith("hotstart.preparation")]


def test_import_hotstart_is_quick() -> None:
    """The promise is 15 ms; what is measured stands in the benchmark."""
    assert milliseconds_over_bare("import hotstart") < 45  # it is 1 ms here


def test_help_is_quick() -> None:
    """The promise is 40 ms."""
    code = "from hotstart.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert milliseconds_over_bare(code) < 500


def test_constructing_and_starting_to_load_are_quick(python: Python) -> None:
    """The promises are 10 ms and 1 ms."""
    code = (
        "import time; from hotstart import Embedder; t = time.perf_counter(); e = Embedder();"
        "u = time.perf_counter(); e.start_loading(); v = time.perf_counter(); print(u - t, v - u)"
    )
    constructing, starting = map(float, python("-c", code).stdout.split())
    assert constructing < 0.3
    assert starting < 0.1


def test_the_dimension_of_a_prepared_model_costs_no_load(python: Python) -> None:
    """The promise is 1 ms after the first time."""
    code = (
        "import time; from hotstart import Embedder; e = Embedder(); e.dimension;"
        "t = time.perf_counter(); e.dimension; print(time.perf_counter() - t)"
    )
    assert float(python("-c", code).stdout) < 0.05


def test_commands_import_no_numpy(python: Python, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Eviction\n\nThe least recently used model is unloaded.\n")
    run = "from hotstart.cli import main; assert main({}) == 0"
    third_party(python, run.format(["index", str(tmp_path), "-q"]))
    search = run.format(["search", "which is evicted?", "--path", str(tmp_path)])
    assert not {"numpy", "onnxruntime"} & {*third_party(python, search)}
    embed = run.format(["embed", "a text", "--truncate-dim", "8"])
    assert not {"numpy", "onnxruntime"} & {*third_party(python, embed)}


def test_a_server_answers_embeddings_without_numpy(python: Python) -> None:
    code = """
import asyncio, httpx
from hotstart.registry.config import read_config
from hotstart.registry.registry import ModelRegistry
from hotstart.server.app import create_app
from hotstart.server.config import ServerConfig
registry = ModelRegistry(read_config({"models": {"m": {"source": "all-MiniLM-L6-v2"}}}))
app = create_app(registry, ServerConfig())
async def ask():
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost"
    ) as client:
        for form in ("float", "base64"):
            body = {"input": ["a"], "encoding_format": form, "dimensions": 8}
            assert (await client.post("/v1/embeddings", json=body)).status_code == 200
        assert len((await client.post("/embed", json={"inputs": "a"})).json()[0]) == 384
asyncio.run(ask())
"""
    assert not {"numpy", "onnxruntime"} & {*third_party(python, f"exec({code!r})")}
