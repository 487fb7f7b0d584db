from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hotstart.errors import InvalidInput
from hotstart.search.documents import (
    FileSelection,
    Skipped,
    find_documents,
    read_document,
)
from hotstart.search.text import SkippedFile
from support.programs import require_program

Plant = Callable[[Mapping[str, str]], str]


def found(root: str) -> list[str]:
    return [file.path for file in find_documents(root, {})]


def test_files_are_found_in_order_with_their_stamps(plant: Plant) -> None:
    root = plant({"b.txt": "bb", "a/z.py": "", "a.md": "x", "a/b/c.txt": "x"})
    assert found(root) == ["a.md", "b.txt", "a/z.py", "a/b/c.txt"]
    (file,) = (f for f in find_documents(root, {}) if f.path == "b.txt")
    status = os.stat(os.path.join(root, "b.txt"))
    assert (file.size, file.mtime_ns) == (2, status.st_mtime_ns)


def test_hidden_names_and_links_are_left_out(plant: Plant, tmp_path: Path) -> None:
    root = plant({".venv/x.py": "", ".hotstart/y.txt": "", ".env": "S=1", "a.txt": "x"})
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o.txt").write_text("o")
    os.symlink(tmp_path / "outside", os.path.join(root, "linked"))
    os.symlink(os.path.join(root, "a.txt"), os.path.join(root, "also.txt"))
    os.mkfifo(os.path.join(root, "pipe"))
    skipped: Skipped = {}
    assert [file.path for file in find_documents(root, skipped)] == ["a.txt"]
    hidden = dict.fromkeys([".env", ".venv/"], "hidden")
    assert skipped == hidden | {"linked": "link", "also.txt": "link"}


def test_the_rules_of_the_repository_around_count(plant: Plant) -> None:
    root = plant({".gitignore": "*.log\n", "pkg/a.log": "", "pkg/a.txt": "", "pkg/in/b.log": ""})
    inner = os.path.join(root, "pkg")
    assert found(inner) == ["a.log", "a.txt", "in/b.log"]  # no repository: not its business
    os.mkdir(os.path.join(root, ".git"))
    assert found(inner) == ["a.txt"]
    os.mkdir(os.path.join(inner, ".git"))
    assert found(inner) == ["a.log", "a.txt", "in/b.log"]  # a repository of its own


def test_an_ignored_folder_that_is_asked_for_is_searched(plant: Plant) -> None:
    root = plant({".gitignore": "build/\n", "build/a.txt": "x", ".git/HEAD": ""})
    assert found(os.path.join(root, "build")) == ["a.txt"]
    assert found(root) == []


def test_what_cannot_be_searched_is_skipped_for_a_reason(plant: Plant) -> None:
    root = plant({"ok.txt": "\ufeffgrüß", "huge.txt": "x" * (1_000_000 + 1)})
    contents = {"nul.dat": b"a\0b", "control.txt": b"a\x01\xe4"}
    for name, data in contents.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
    with open(os.path.join(os.fsencode(root), b"\xff.txt"), "wb"):
        pass
    skipped: Skipped = {}
    names = [file.path for file in find_documents(root, skipped)]
    assert names == ["control.txt", "nul.dat", "ok.txt"]
    assert skipped == {"huge.txt": "too large", "\\xff.txt": "name is not Unicode"}
    assert read_document(os.path.join(root, "ok.txt")).text == "grüß"
    for name in contents:
        with pytest.raises(SkippedFile, match="binary"):
            read_document(os.path.join(root, name))
    with pytest.raises(FileNotFoundError):
        read_document(os.path.join(root, "gone"))


def test_a_file_that_outgrew_its_listing_is_too_large(plant: Plant) -> None:
    root = plant({"a.txt": "x" * (1_000_000 + 1)})
    with pytest.raises(SkippedFile, match="too large"):
        read_document(os.path.join(root, "a.txt"))


def test_what_may_not_be_read_is_counted() -> None:
    with tempfile.TemporaryDirectory() as root:  # tmp_path lies in a folder closed to others
        os.chmod(root, 0o755)
        for path, mode in (("shut", 0o700), ("a.txt", 0o600), ("b.txt", 0o644)):
            target = os.path.join(root, path)
            if path == "shut":
                os.mkdir(target)
            else:
                with open(target, "w") as file:
                    file.write("x")
            os.chmod(target, 0o000 if os.geteuid() else mode)
        skipped: Skipped = {}
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # root may read anything
        try:
            assert "a.txt" in [f.path for f in find_documents(root, skipped)]
            with pytest.raises(SkippedFile, match="unreadable"):
                read_document(os.path.join(root, "a.txt"))
        finally:
            os.seteuid(user)
            os.chmod(os.path.join(root, "shut"), 0o700)
        assert skipped == {"shut/": "unreadable"}


TREE = ["a.md", "b.py", "rows.csv", "uv.lock", "docs/a.md", "docs/old/b.md", ".github/ci.yml"]
TREE += ["node/index.js", ".cache/x.yml"]


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ([], [], ["a.md", "b.py", "docs/a.md", "docs/old/b.md", "node/index.js"]),
        ([], ["node/", "old"], ["a.md", "b.py", "docs/a.md"]),
        ([], ["*.md", "!docs/a.md"], ["b.py", "docs/a.md", "node/index.js"]),
        (["*.md"], [], ["a.md", "docs/a.md", "docs/old/b.md"]),
        (["docs"], ["/docs/old"], ["docs/a.md"]),
        (["/*.md", "*.csv"], [], ["a.md", "rows.csv"]),  # named, although it is data
        (["*.lock"], [], ["uv.lock"]),
        (["*.yml"], [], []),
        (["*.py", ".github/"], [], ["b.py", ".github/ci.yml"]),  # the dot is named
    ],
)
def test_globs_choose_files(
    plant: Plant, include: list[str], exclude: list[str], expected: list[str]
) -> None:
    root = plant(dict.fromkeys(TREE, "text"))
    selection = FileSelection(root, include, exclude)
    assert [file.path for file in find_documents(root, {}, selection)] == expected
    subprocess.run([require_program("git", package="git"), "init", "-q"], cwd=root, check=True)
    assert [file.path for file in find_documents(root, {}, selection)] == expected


@pytest.mark.parametrize("glob", ["", "[", "#note"])
def test_a_glob_that_matches_nothing_is_refused(glob: str) -> None:
    with pytest.raises(InvalidInput, match="exclude must be a glob"):
        FileSelection("/", exclude=[glob])
