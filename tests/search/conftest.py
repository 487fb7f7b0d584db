from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hotstart import Embedder
from hotstart.search.store import Store

Plant = Callable[[Mapping[str, str]], str]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Write files, given by their paths, below one folder and return that folder."""
    root = str(tmp_path / "tree")
    os.mkdir(root)

    def write(files: Mapping[str, str]) -> str:
        for path, text in files.items():
            target = os.path.join(root, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "w", encoding="utf-8") as file:
                file.write(text)
        return root

    return write


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "index.db")) as store:
        yield store


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()
