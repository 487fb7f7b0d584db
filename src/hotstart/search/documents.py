"""Find and read the files of a folder; .gitignore rules."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from hotstart._lazy import require
from hotstart.files import open_regular, read_bounded

logger = logging.getLogger(__name__)

Rules = tuple["GitignoreRules", ...]
"""The rules that have a say in a folder, the outermost first."""


@dataclass(frozen=True)
class GitignoreRules:
    """The patterns of the .gitignore in `folder`.

    Files and folders differ for a negated pattern such as `!*/`, which applies to folders only.
    """

    folder: str
    for_files: Any
    for_folders: Any


def rules_above(root: str) -> Rules:
    """Return the rules of the repository around `root` for the files in `root`.

    These are the rules of the folders above `root` up to the folder with `.git`. There are none
    without such a folder, if `root` contains `.git`, or if they ignore `root` itself: a folder that
    the user names is not skipped.
    """
    rules: Rules = ()
    for folder in _folders_above(root):
        rules = rules_within(folder, rules)
    return () if is_ignored(root + os.sep, rules) else rules


def rules_within(folder: str, outer: Rules) -> Rules:
    """Return the rules for the files in `folder`: `outer` and its own .gitignore."""
    path = os.path.join(folder, ".gitignore")
    if os.path.isdir(path):
        return outer
    try:
        content = read_bounded(path, LARGEST)
    except FileNotFoundError:
        return outer
    except OSError as error:
        logger.warning("%s is not honoured: %s", path, error.strerror)
        return outer
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return (*outer, _compile(folder, lines))


def is_ignored(path: str, rules: Rules) -> bool:
    """Return whether `rules` ignore the absolute `path`; a folder's path ends in a separator.

    The innermost .gitignore with a matching line decides, by its last matching line.
    """
    for level in reversed(rules):
        spec = level.for_folders if path.endswith(os.sep) else level.for_files
        verdict = spec.check_file(path[len(level.folder) :].lstrip(os.sep)).include
        if verdict is not None:
            return bool(verdict)
    return False


def _folders_above(root: str) -> list[str]:
    """Return the folders above `root` within its repository, outermost first."""
    above: list[str] = []
    folder = root
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return []
        folder = parent
        above.insert(0, folder)
    return above


def _compile(folder: str, lines: Sequence[str]) -> GitignoreRules:
    """Return the patterns in `lines`; skip invalid ones, as git does.

    RE2 matches in linear time: the patterns of a foreign folder may be made to take for ever.
    """
    pathspec = require("pathspec", extra="search")
    lines = [line for line in lines if _is_pattern(pathspec, line)]
    return GitignoreRules(
        folder,
        for_files=pathspec.GitIgnoreSpec.from_lines(lines, backend="re2"),
        for_folders=pathspec.PathSpec.from_lines("gitignore", lines, backend="re2"),
    )


def _is_pattern(pathspec: Any, line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line], backend="re2")
    except (ValueError, re.error, require("re2", extra="search").error):
        return False
    return True


LARGEST = 1_000_000
"""Bytes of the largest file that is read; what is larger is data or generated."""

_PROBE = 8192  # leading bytes in which a NUL means binary, as in git

Reason = Literal["binary", "too large", "unreadable", "name is not Unicode"]


class FoundFile(NamedTuple):
    """A file found in a folder, by its relative path."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class FileContent:
    """The text of a file, and the digest of its bytes."""

    text: str
    sha256: str


class SkippedFile(Exception):
    """A file that is not indexed, with the reason."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


def find_documents(root: str, skipped: Counter[str]) -> Iterator[FoundFile]:
    """Yield the files below `root` in a fixed order; count skipped files in `skipped` by
    reason.

    Not counted are ignored paths, names that start with a dot, symbolic links, and special files.
    """
    root = os.path.abspath(root)
    waiting: list[tuple[str, Rules]] = [(root, rules_above(root))]
    while waiting:
        folder, outer = waiting.pop()
        rules = rules_within(folder, outer)
        inner: list[str] = []
        for entry in _entries(folder, skipped):
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            if entry.is_dir():
                if not is_ignored(entry.path + os.sep, rules):
                    inner.append(entry.path)
            elif entry.is_file() and not is_ignored(entry.path, rules):
                found = _judge(entry, root, skipped)
                if found is not None:
                    yield found
        waiting.extend((path, rules) for path in reversed(inner))


def read_document(path: str) -> FileContent:
    """Return the content of the file `path`.

    Raises:
        SkippedFile: the file cannot be indexed, with the reason in the message.
        FileNotFoundError: the file was removed.
    """
    try:
        with open_regular(path) as file:
            data = file.read(_PROBE)
            if b"\0" in data:
                raise SkippedFile("binary")
            data += file.read(LARGEST + 1 - len(data))
    except FileNotFoundError:
        raise
    except OSError as error:
        logger.info("%s is passed over: %s", path, error.strerror)
        raise SkippedFile("unreadable") from error
    if len(data) > LARGEST:
        raise SkippedFile("too large")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SkippedFile("binary") from None
    return FileContent(text, hashlib.sha256(data).hexdigest())


def _entries(folder: str, skipped: Counter[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:  # removed after its parent was listed
        return []
    except OSError as error:
        logger.info("%s is passed over: %s", folder, error.strerror)
        skipped["unreadable"] += 1
        return []


def _judge(entry: os.DirEntry[str], root: str, skipped: Counter[str]) -> FoundFile | None:
    """Return the file `entry`; None if its name or size excludes it."""
    try:
        entry.path.encode()
        status = entry.stat(follow_symlinks=False)
    except UnicodeEncodeError:
        skipped["name is not Unicode"] += 1
    except FileNotFoundError:  # removed after its folder was listed
        return None
    except OSError:
        skipped["unreadable"] += 1
    else:
        if status.st_size <= LARGEST:
            relative = entry.path[len(os.path.join(root, "")) :].replace(os.sep, "/")
            return FoundFile(relative, status.st_size, status.st_mtime_ns)
        skipped["too large"] += 1
    return None
