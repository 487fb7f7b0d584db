"""The files that are found are those that git lists, with git's help and without it."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
from pathlib import Path

import pytest

from hotstart.search.documents import Skipped, find_documents
from hotstart.search.gitignore import GitignorePatterns
from support.programs import require_program

NAMES = ["a", "b", "ab", "build", "café.md", "foo.md", "foo.txt", "Foo.md", "x y", "#h", "!n"]
NAMES += ["keep.md", "a\\b", "trail ", "dist", "node_modules", "*", "bé", "caf?.md", "a-b", "]"]
NAMES += ["[a]"]
PIECES = ["*", "**", "?", "a", "b", "ab", "foo", ".md", ".txt", "build", "caf", "é", "dist", "keep"]
PIECES += ["[a-c]", "[!a]", "[^f]*", "[[:alpha:]]", "[]a]", "[", "[a", "\\", "\\*", "\\ ", " "]
PIECES += ["[a-", "[[:foo:]]", "[\\]]", "F", "-", "[--a]", "[[:upper:]x]*", "[[:a]*", "x y", "]"]
ODD = ["# note", "", "/*", "*", "!*/", "!/*/", "\t"]


def random_pattern(dice: random.Random) -> str:
    parts = [
        dice.choice(NAMES)
        if dice.random() < 0.5
        else "".join(dice.choices(PIECES, k=dice.choice([1, 1, 2, 3])))
        for _ in range(dice.choice([1, 1, 1, 2, 2, 3]))
    ]
    if dice.random() < 0.2:
        parts.insert(dice.randrange(len(parts) + 1), "**")
    line = "/" * (dice.random() < 0.3) + "/".join(parts) + "/" * (dice.random() < 0.3)
    line = "!" * (dice.random() < 0.3) + line + " " * (dice.random() < 0.1)
    return dice.choice(ODD) if dice.random() < 0.08 else line


def lines(dice: random.Random, most: int) -> str:
    end = "\r\n" if dice.random() < 0.1 else "\n"
    start = "\ufeff" if dice.random() < 0.05 else ""
    return start + end.join(random_pattern(dice) for _ in range(dice.randrange(1, most))) + end


def grow(dice: random.Random, folder: Path, depth: int) -> None:
    """Fill `folder` with files, folders, links and .gitignore files by chance."""
    for name in dice.sample(NAMES, dice.randrange(3, 9)):
        path = folder / name
        if depth and dice.random() < 0.5:
            path.mkdir()
            grow(dice, path, depth - 1)
        elif dice.random() < 0.05:
            path.symlink_to(dice.choice([".", "nowhere", "/etc/hostname"]))
        else:
            path.write_text("x")
    if depth == 3 or dice.random() < 0.3:
        (folder / ".gitignore").write_bytes(lines(dice, 8).encode())
    if depth < 3 and dice.random() < 0.04:
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def listed_by_git(root: Path) -> list[str]:
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, cwd=root, check=True, capture_output=True)
    return sorted({os.fsdecode(path) for path in done.stdout.split(b"\0") if path})


def is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def taken(root: Path) -> list[str]:
    """Return what is found or passed over as a link or a repository: both are listed by git."""
    skipped: Skipped = {}
    found = [file.path for file in find_documents(str(root), skipped)]
    assert set(skipped.values()) <= {"hidden", "link", "another repository"}
    return sorted(found + [path for path, reason in skipped.items() if reason != "hidden"])


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the global configuration of git."""
    require_program("git", package="git")
    home = tmp_path / "home"
    (home / "git").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home / "git"


@pytest.mark.parametrize("part", range(8))
def test_random_trees_are_read_as_git_reads_them(
    outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """50 trees each with a .gitignore and more of them, and rules outside of the tree."""
    for seed in range(50 * part, 50 * part + 50):
        dice = random.Random(seed)
        root = tmp_path / f"tree{seed}"
        root.mkdir()
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        grow(dice, root, 3)
        (outside / "ignore").write_text(lines(dice, 3) if dice.random() < 0.3 else "")
        if dice.random() < 0.3:
            (root / ".git" / "info" / "exclude").write_text(lines(dice, 3))
        expected = [path for path in listed_by_git(root) if not is_hidden(path)]
        assert taken(root) == expected, seed
        with monkeypatch.context() as without_git:
            without_git.setenv("PATH", "")
            assert taken(root) == expected, seed


GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(outside: Path, tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    git(root, "init", "-q")
    return root


def plant(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("text\n")


def names(root: Path) -> list[str]:
    return [file.path for file in find_documents(str(root), {})]


def test_a_negation_brings_back_its_own_folder_alone(repository: Path) -> None:
    plant(repository, "app/secrets/key.md", "app/ok.md", "src/node_modules/lib/i.js", "src/a.py")
    (repository / ".gitignore").write_text("secrets/\nnode_modules/\n/*\n!/app\n!/src\n")
    assert names(repository) == ["app/ok.md", "src/a.py"]


def test_tracked_files_are_found_although_they_are_ignored(repository: Path) -> None:
    plant(repository, "a.log", "b.log", "gone.log", "c.md", "build/kept.md", "build/other.md")
    (repository / ".gitignore").write_text("*.log\nbuild/\n")
    git(repository, "add", "-f", "a.log", "gone.log", "build/kept.md")
    (repository / "gone.log").unlink()
    assert names(repository) == ["a.log", "c.md", "build/kept.md"]
    assert names(repository / "build") == ["kept.md", "other.md"]  # asked for by its name


def test_a_repository_within_is_named_and_not_entered(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    plant(other, "in.md")
    git(other, "add", ".")
    git(other, "commit", "-qm", "one")
    git(repository, "submodule", "add", "-q", str(other), "sub")
    git(repository, "clone", "-q", str(other), "clone")
    plant(repository, "a.md")
    skipped: Skipped = {}
    assert [file.path for file in find_documents(str(repository), skipped)] == ["a.md"]
    expected = {"sub": "another repository", "clone/": "another repository"}
    assert skipped == expected | {".gitmodules": "hidden"}
    assert names(repository / "sub") == ["in.md"]
    assert names(tmp_path) == ["other/in.md", "root/a.md"]  # in a folder of repositories
    monkeypatch.setenv("PATH", "")
    assert names(repository) == ["a.md"]


def test_a_link_into_a_repository_leads_to_its_rules(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / ".gitignore").write_text("*.log\n/docs/skip\n")
    plant(repository, "docs/a.md", "docs/a.log", "docs/skip/b.md", "docs/in/c.md")
    (tmp_path / "link").symlink_to(repository / "docs")
    assert names(tmp_path / "link") == ["a.md", "in/c.md"]
    monkeypatch.setenv("PATH", "")
    assert names(tmp_path / "link") == ["a.md", "in/c.md"]


def test_a_further_worktree_has_the_rules_of_its_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "one")
    git(repository, "worktree", "add", "-q", "../second")
    (repository / ".git" / "info" / "exclude").write_text("*.log\n")
    second = tmp_path / "second"
    plant(second, "a.log", "a.md")
    assert names(second) == ["a.md"]
    monkeypatch.setenv("PATH", "")
    assert names(second) == ["a.md"]


def test_the_excludes_that_the_configuration_names(
    repository: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (outside / "config").write_text('[user]\n\tname = a\n[core]\n\texcludesFile = "~/mine" # x\n')
    (outside.parent / "mine").write_text("*.bak\n")
    plant(repository, "a.bak", "a.md", "A.MD")
    assert names(repository) == ["A.MD", "a.md"]
    git(repository, "config", "core.ignoreCase", "true")
    (repository / ".gitignore").write_text("A.md\n")
    assert names(repository) == []
    monkeypatch.setenv("PATH", "")
    assert names(repository) == []


def test_a_foreign_repository_runs_no_program(repository: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    script.chmod(0o755)
    plant(repository, "a.md")
    git(repository, "add", "a.md")
    git(repository, "config", "core.fsmonitor", str(script))
    git(repository, "config", "core.sshCommand", str(script))
    git(repository, "config", "core.untrackedCache", "true")
    (tmp_path / "ran").unlink(missing_ok=True)
    assert names(repository) == ["a.md"]
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_git_cannot_list_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    require_program("git", package="git")
    with tempfile.TemporaryDirectory() as top:  # tmp_path lies in a folder closed to others
        root = Path(top)
        monkeypatch.setenv("HOME", top)
        monkeypatch.setenv("XDG_CONFIG_HOME", top)
        git(root, "init", "-q")
        plant(root, "pkg/a.md", "pkg/shut/b.md", "other/c.md")
        user = os.geteuid()
        if user == 0:  # who may read anything
            for path in (root, *root.rglob("*")):
                os.chown(path, 65534, -1)
        shut = [root / "pkg" / "shut", root / "other"]
        for folder in shut:
            folder.chmod(0o000)
        if user == 0:
            os.seteuid(65534)
        try:
            skipped: Skipped = {}
            assert [file.path for file in find_documents(f"{top}/pkg", skipped)] == ["a.md"]
            assert skipped == {"shut/": "unreadable"}
            assert names(root) == ["pkg/a.md"]
        finally:
            os.seteuid(user)
            for folder in shut:
                folder.chmod(0o700)


def test_the_variables_of_a_hook_lead_to_no_other_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    plant(other, "b.md")
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    assert names(other) == ["b.md"]


@pytest.mark.parametrize(
    ("line", "path", "ignored"),
    [
        ("a  ", "a", True),
        ("a\\ ", "a ", True),
        ("a\\\\ ", "a\\", True),
        ("caf?.md", "café.md", None),  # git counts bytes
        ("caf??.md", "café.md", True),
        ("a**/b", "ab", True),  # as git has it
        ("/a**/b", "ab", True),
        ("x/**/y", "x/y", True),
        ("x/**", "x", None),
        ("[a", "[a", None),
        ("[a", "a", None),
        ("[]]", "]", True),
        ("!a", "a", False),
        ("\\!a", "!a", True),
        ("#a", "#a", None),
        ("\\#a", "#a", True),
    ],
)
def test_one_pattern(line: str, path: str, ignored: bool | None) -> None:
    patterns = GitignorePatterns("/r", [line.encode()])
    assert patterns.verdict(f"/r/{path}", is_folder=False) is ignored
