"""Hostile folders, and folders that cannot be written: the index ends, and stays where it is."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotstart import Embedder, SearchIndex
from hotstart.errors import IndexDamaged
from hotstart.pool.pool import Pool
from hotstart.search.chunking import chunk
from hotstart.search.definitions import find_definitions
from hotstart.search.documents import find_documents
from hotstart.search.gitignore import read_patterns

FAKE = "fake:dimension=8"


def index_of(folder: Path) -> SearchIndex:
    return SearchIndex(folder, Embedder(FAKE, pool=Pool()))


def names(folder: Path) -> list[str]:
    return [found.path for found in find_documents(str(folder), {})]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.md").write_text("models are evicted\n")
    return root


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 25 + "b", "**/a/" * 20, "[a-z]*" * 30 + "1", "(a+)+$", "**/*a*/**/*b*/**/*c*/**/*d"],
)
def test_patterns_are_matched_in_linear_time(folder: Path, pattern: str) -> None:
    deep = folder.joinpath(*["a"] * 30)
    deep.mkdir(parents=True)
    (deep / ("a" * 200)).write_text("text")
    (folder / ".gitignore").write_text(f"{pattern}\nignored.md\n")
    (folder / "ignored.md").write_text("text")
    began = time.monotonic()
    found = names(folder)
    assert time.monotonic() - began < 20
    assert "a.md" in found
    assert "ignored.md" not in found


def test_a_gitignore_that_is_no_file_is_passed_over(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / ".gitignore"
    for make in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.write_bytes(b"*.log\n" * 1_000_000),
    ):
        make()
        assert read_patterns(str(path), str(folder)) is None
        assert "is not honoured" in caplog.text
        caplog.clear()
        path.unlink()


def test_special_files_are_not_read(folder: Path) -> None:
    os.mkfifo(folder / "fifo.md")
    (folder / "zero.md").symlink_to("/dev/zero")
    assert names(folder) == ["a.md"]


@pytest.mark.parametrize("name", ["", "lock", "index.db", "index.db-wal", "lexical", ".gitignore"])
def test_a_link_in_place_of_the_index_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """It may lead to files of the user."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "lexical").mkdir()
    (victim / "lexical" / "own.txt").write_text("mine")
    (victim / "lock").write_text("mine")
    before = sorted(path.name for path in victim.rglob("*"))
    home = folder / ".hotstart"
    if name:
        home.mkdir()
    (home / name if name else home).symlink_to(victim / name if name else victim)
    with pytest.raises(IndexDamaged, match="it is a symbolic link"):
        index_of(folder).update()
    assert sorted(path.name for path in victim.rglob("*")) == before
    assert (victim / "lock").read_text() == "mine"


def test_files_of_killed_writers_are_removed(folder: Path) -> None:
    index = index_of(folder)
    index.update()
    for number in range(3):
        (folder / ".hotstart" / "lexical" / f".tmp{number}").write_text("left")
    (folder / "b.md").write_text("more text\n")
    index.update()
    assert not list((folder / ".hotstart" / "lexical").glob(".tmp*"))


@pytest.mark.parametrize("line", ["a::" * 66, "a::" * 60 + "();", "a<b>" * 50, "a " * 99 + "("])
@pytest.mark.parametrize("name", ["x.cpp", "X.java"])
def test_an_outline_of_long_names_takes_no_time(name: str, line: str) -> None:
    began = time.process_time()
    chunk(name, "\n".join([line] * 1000))
    find_definitions(name, [line] * 1000)
    assert time.process_time() - began < 5


_BIND, _REMOUNT, _READ_ONLY, _DETACH = 4096, 32, 1, 2  # mount(2), umount2(2)


def mount(folder: Path, flags: int) -> None:
    """Mount `folder` over itself; the program mount(8) may be absent."""
    libc = ctypes.CDLL(None, use_errno=True)
    place = os.fsencode(folder)
    if libc.mount(place, place, None, ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Mount `folder` read-only over itself; only the superuser can, and can write otherwise."""
    mount(folder, _BIND)
    try:
        mount(folder, _BIND | _REMOUNT | _READ_ONLY)
        yield
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(folder), _DETACH)


@contextlib.contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Make `folder` one that this process cannot write."""
    if os.geteuid() == 0:
        with read_only(folder):
            yield
        return
    places = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for place in places:
        place.chmod(0o555)
    try:
        yield
    finally:
        for place in places:
            place.chmod(0o755)


def can_be_made_unwritable() -> bool:
    if os.geteuid() != 0:
        return True
    code = "import ctypes; raise SystemExit(ctypes.CDLL(None).unshare(0x20000) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not can_be_made_unwritable(), reason="the superuser may not mount here")
def test_an_index_that_cannot_be_written_is_searched(folder: Path) -> None:
    index_of(folder).update()
    with unwritable(folder):
        answer = index_of(folder).search("evicted")
        assert (answer.mode, answer.reason) == ("hybrid", None)
        assert [hit.path for hit in answer.hits] == ["a.md"]
        with pytest.raises(IndexDamaged, match="Check the space and the permissions"):
            index_of(folder).update()
    assert index_of(folder).update().unchanged == 1
