"""What an index tells of itself, and how it forgets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from hotstart import Embedder
from hotstart.errors import IndexBusy, IndexMissing, InvalidInput
from hotstart.files import exclusive
from hotstart.search import SearchIndex

Plant = Callable[[Mapping[str, str]], str]

FILES = {
    "a.md": "# Public\n\nanybody may read of wombats\n",
    "private/b.md": "# Private\n\nxylophonic quokka\n",
    "private/deep/c.md": "zyzzyvas and a quokka\n",
    "privateer.md": "a ship\n",
}


@pytest.fixture
def index(plant: Plant, embedder: Embedder) -> SearchIndex:
    index = SearchIndex(plant(FILES), embedder)
    index.update()
    return index


def contents(index: SearchIndex) -> Iterator[bytes]:
    for folder, _, names in os.walk(index.home):
        yield from ((Path(folder) / name).read_bytes() for name in names)


def test_what_is_forgotten_leaves_no_byte_in_the_index(index: SearchIndex) -> None:
    assert any(b"xylophonic" in content for content in contents(index))
    assert index.forget(os.path.join(index.path, "private")) == 2
    assert not any(b"xylophon" in content for content in contents(index))
    assert not any(b"private/" in content for content in contents(index))
    found = {hit.path for hit in index.search("ship wombats quokka").hits}
    assert found == {"a.md", "privateer.md"}
    status = index.status()
    assert (status.documents, status.chunks, [*status.vectors.values()]) == (2, 2, [2])
    assert index.update().added == 2


def test_vectors_are_forgotten(
    plant: Plant, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hotstart.search.vectors._FEW", 0)
    index = SearchIndex(plant(FILES), embedder)
    index.update()
    (path,) = Path(index.home).glob("vectors-*.bin")
    size = path.stat().st_size
    index.forget("private")
    assert path.stat().st_size < size
    assert index.search("wombats").hits[0].path == "a.md"


def test_forget_takes_paths_below_the_folder(index: SearchIndex) -> None:
    assert index.forget("private/deep/c.md") == 1
    for path in ("nothing.md", "privat", "private/deep", ".."):
        with pytest.raises(InvalidInput, match="path must be"):
            index.forget(path)
    assert index.forget(".") == 3


def test_a_killed_forget_removes_all_or_nothing(index: SearchIndex) -> None:
    """The process dies after the transaction, before the lexical index follows."""
    code = f"""
import os
from hotstart.search.lexical import LexicalIndex
LexicalIndex.rebuild = lambda self, store: os.kill(os.getpid(), 9)
from hotstart.search import SearchIndex
SearchIndex({index.path!r}).forget("private")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == -9
    assert SearchIndex(index.path).search("quokka").hits == ()
    assert SearchIndex(index.path).search("wombats").hits != ()


def test_a_deleted_index_is_gone_and_can_be_made_again(index: SearchIndex) -> None:
    index.delete()
    assert sorted(os.listdir(index.path)) == ["a.md", "private", "privateer.md"]
    for method in (
        index.delete,
        index.status,
        lambda: index.search("quokka"),
        lambda: index.forget("a.md"),
    ):
        with pytest.raises(IndexMissing):
            method()
    assert index.update().added == 4
    assert index.search("quokka").hits[0].path.startswith("private/")


def test_an_index_that_is_written_is_not_forgotten(index: SearchIndex) -> None:
    with exclusive(os.path.join(index.home, "lock")):
        for method in (index.delete, lambda: index.forget("a.md")):
            with pytest.raises(IndexBusy):
                method()


def test_read_gives_text_below_the_folder(index: SearchIndex, tmp_path: Path) -> None:
    assert index.read("private/b.md") == FILES["private/b.md"]
    (tmp_path / "elsewhere.md").write_text("secret")
    os.symlink(tmp_path / "elsewhere.md", os.path.join(index.path, "link.md"))
    for path in (
        "link.md",
        "../elsewhere.md",
        str(tmp_path / "elsewhere.md"),
        "none.md",
        "private",
    ):
        with pytest.raises(InvalidInput, match="path must be"):
            index.read(path)


def test_status_counts_what_an_update_would_change(index: SearchIndex) -> None:
    before = index.status()
    assert (before.pending.added, before.pending.changed, before.pending.removed) == (0, 0, 0)
    assert (before.documents, before.folders) == (4, (index.path,))
    assert before.size > 10_000
    root = Path(index.path)
    (root / "a.md").write_text("other")
    (root / "privateer.md").touch()  # touched, with the same content
    (root / "private" / "b.md").unlink()
    (root / "new.md").write_text("new")
    (root / "new.bin").write_bytes(b"\0")
    after = index.status()
    assert (after.pending.added, after.pending.changed, after.pending.removed) == (1, 1, 1)
    report = index.update()
    assert (report.added, report.changed, report.removed) == (1, 1, 1)
    assert index.status().changed_at >= before.changed_at


def test_status_keeps_what_cannot_be_read_now(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path == os.path.join(index.path, "private"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert index.status().pending.removed == 0
