"""An update that is killed, again and again, ends where one that never was would have ended."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hotstart import Embedder
from hotstart.errors import IndexMissing
from hotstart.search import SearchIndex
from hotstart.search.lexical import LexicalIndex
from hotstart.search.store import Store

Plant = Callable[[Mapping[str, str]], str]

UPDATE = (
    "import sys; from hotstart import Embedder, SearchIndex; e = Embedder(); e.wait_ready();"
    "import hotstart.search.indexing, hotstart.files, filelock, re2, tantivy;"
    "print('begins', flush=True); print(SearchIndex(sys.argv[1], e).update().seconds, flush=True)"
)
KILLS = int(os.environ.get("HOTSTART_TESTS_KILLS", "12"))


def files(rng: random.Random, count: int) -> dict[str, str]:
    """Some of 300 files, with new content."""
    return {
        f"d{n % 7}/{n}.txt": f"common {rng.random()} text\n" for n in rng.sample(range(300), count)
    }


def start(root: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", UPDATE, root], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


def content(root: str, embedder: Embedder) -> tuple[list[tuple[str, str, int]], int]:
    home = os.path.join(root, ".hotstart")
    with Store(os.path.join(home, "index.db")) as store:
        assert LexicalIndex(os.path.join(home, "lexical")).agrees(store)
        chunks = sorted((p.path, p.text, p.start_line) for p in store.chunks_after(0))
        return chunks, store.count_vectors(embedder.fingerprint)


def test_a_killed_update_is_completed_by_the_next(
    plant: Plant, tmp_path: Path, embedder: Embedder
) -> None:
    rng = random.Random(7)
    root = plant(files(rng, 300))
    shutil.copytree(root, tmp_path / "measured")
    output, _ = start(str(tmp_path / "measured")).communicate()
    length = float(output)
    interrupted = 0
    for n in range(KILLS):
        process = start(root)
        time.sleep(rng.uniform(0, length * (1 if n < KILLS / 2 else 0.5)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        interrupted += process.returncode == -signal.SIGKILL
        if os.path.exists(os.path.join(root, ".hotstart", "index.db")):
            with Store(os.path.join(root, ".hotstart", "index.db")) as store:
                count = store.count_chunks()
            if n % 2:  # the other half leaves the lexical index as the killed one left it
                assert bool(SearchIndex(root).search("common").hits) == (count > 0)
        else:
            with pytest.raises(IndexMissing):
                SearchIndex(root).search("common")
        plant(files(rng, 120))
        for path in list(files(rng, 5)):
            if os.path.exists(os.path.join(root, path)):
                os.unlink(os.path.join(root, path))
    assert interrupted >= KILLS / 2
    SearchIndex(root, embedder).update()
    fresh = str(tmp_path / "fresh")
    shutil.copytree(root, fresh, ignore=shutil.ignore_patterns(".hotstart"))
    SearchIndex(fresh, embedder).update()
    chunks, vectors = content(root, embedder)
    assert (chunks, vectors) == content(fresh, embedder)
    assert vectors == len(chunks) > 200
    assert [n for n in os.listdir(os.path.join(root, ".hotstart")) if n.startswith(".lex")] == []
