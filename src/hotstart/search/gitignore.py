"""Which files git is told to ignore: the rules of every .gitignore that has a say in a folder."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hotstart._lazy import require

logger = logging.getLogger(__name__)

Rules = tuple["RulesOfFolder", ...]
"""The rules that have a say in a folder, the outermost first."""


@dataclass(frozen=True)
class RulesOfFolder:
    """The patterns of the .gitignore in `folder`, an absolute path.

    The two differ where a negated pattern such as `!*/` is meant for folders alone.
    """

    folder: str
    for_files: Any
    for_folders: Any


def rules_above(root: str) -> Rules:
    """Return the rules that the repository around `root` has for what is in it.

    These are those of the folders above `root` up to the one that holds `.git`; none where there
    is no such folder, where `root` holds `.git` itself, or where they ignore `root` as a whole:
    a folder that was asked for by name is not passed over.
    """
    rules: Rules = ()
    for folder in _folders_above(root):
        rules = rules_within(folder, rules)
    return () if is_ignored(root + os.sep, rules) else rules


def rules_within(folder: str, outer: Rules) -> Rules:
    """Return the rules for what is in `folder`: `outer`, and its own .gitignore if it has one."""
    path = os.path.join(folder, ".gitignore")
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            lines = file.read().splitlines()
    except (FileNotFoundError, IsADirectoryError):
        return outer
    except OSError as error:
        logger.warning("%s is not honoured: %s", path, error.strerror)
        return outer
    return (*outer, _compile(folder, lines))


def is_ignored(path: str, rules: Rules) -> bool:
    """Return whether `rules` ignore the absolute `path`; that of a folder ends in a separator.

    The innermost .gitignore that says anything of the path decides, in it the last such line.
    """
    for level in reversed(rules):
        spec = level.for_folders if path.endswith(os.sep) else level.for_files
        verdict = spec.check_file(path[len(level.folder) :].lstrip(os.sep)).include
        if verdict is not None:
            return bool(verdict)
    return False


def _folders_above(root: str) -> list[str]:
    """The folders above `root` within its repository, the repository's own first."""
    above: list[str] = []
    folder = root
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return []
        folder = parent
        above.insert(0, folder)
    return above


def _compile(folder: str, lines: Sequence[str]) -> RulesOfFolder:
    """The patterns in `lines`; those that are none are left out, as git does."""
    pathspec = require("pathspec", extra="search")
    lines = [line for line in lines if _is_pattern(pathspec, line)]
    return RulesOfFolder(
        folder,
        for_files=pathspec.GitIgnoreSpec.from_lines(lines),
        for_folders=pathspec.PathSpec.from_lines("gitignore", lines),
    )


def _is_pattern(pathspec: Any, line: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True
