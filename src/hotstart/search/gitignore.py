"""Which paths git ignores: patterns, the files they stand in, the configuration that names them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from hotstart.config import git_config_files, git_ignore_file
from hotstart.files import read_bounded
from hotstart.search.expressions import PatternSet

logger = logging.getLogger(__name__)

LARGEST = 1_000_000
"""Bytes of the largest file of patterns that is read."""


class _Line(NamedTuple):
    """One pattern: what it says, of folders alone or not."""

    ignores: bool
    for_folders: bool


class GitignorePatterns:
    """The patterns in `lines`, for the paths below `folder`.

    They mean what they mean in a .gitignore, byte by byte, as in git. RE2 matches in linear time:
    the patterns of a foreign folder may be made to take for ever.
    """

    def __init__(self, folder: str, lines: Iterable[bytes], *, fold_case: bool = False) -> None:
        self.folder = folder
        self._start = len(os.path.join(folder, ""))
        self._lines: list[_Line] = []
        self._fold_case = fold_case
        self._by_name = PatternSet(fold_case)
        self._by_path = PatternSet(fold_case)
        for line in lines:
            self._add(line)
        self._by_name.compile()
        self._by_path.compile()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def verdict(self, path: str, *, is_folder: bool) -> bool | None:
        """Return whether the last line that matches `path` ignores it; None if none matches."""
        relative = os.fsencode(path[self._start :].replace(os.sep, "/"))
        found = self._by_name.match(relative.rpartition(b"/")[2]) + self._by_path.match(relative)
        for number in sorted(found, reverse=True):
            line = self._lines[number]
            if is_folder or not line.for_folders:
                return line.ignores
        return None

    def covers(self, relative: str) -> bool:
        """Return whether the lines match `relative`, a path below the folder, or one above it."""
        path = os.path.join(self.folder, relative)
        ends = [len(path) - len(relative) + each.start() for each in re.finditer("/", relative)]
        if any(self.verdict(path[:end], is_folder=True) for end in ends):
            return True
        return bool(self.verdict(path, is_folder=False))

    def _add(self, line: bytes) -> None:
        pattern = _without_trailing_spaces(line)
        if not pattern or line.startswith(b"#"):
            return
        ignores = not pattern.startswith(b"!")
        pattern = pattern if ignores else pattern[1:]
        for_folders = pattern.endswith(b"/")
        pattern = pattern[:-1] if for_folders else pattern
        # A slash binds a pattern to its folder; without one it is that of a name at any depth.
        if b"/" in pattern:
            pattern = pattern.removeprefix(b"/")
            expression = _expression(pattern, any_byte=b"[^/]")
            chosen = self._by_path
        else:
            expression = _expression(pattern, any_byte=b".")
            chosen = self._by_name
        if expression is not None and chosen.add(expression, len(self._lines)):
            self._lines.append(_Line(ignores, for_folders))


def _without_trailing_spaces(line: bytes) -> bytes:
    """Return `line` without the spaces at its end that no backslash keeps."""
    end = position = 0
    while position < len(line):
        is_escaped = line[position : position + 1] == b"\\"
        position += 2 if is_escaped else 1
        if is_escaped or line[position - 1 : position] != b" ":
            end = position
    return line[:end]


_SPECIAL = re.compile(rb"[*?\[\\]")


def _expression(pattern: bytes, any_byte: bytes) -> bytes | None:
    """Return the regular expression of a glob, as git's wildmatch reads it.

    None if it matches nothing, as a bracket without its end.
    """
    special = _SPECIAL.search(pattern)
    # git compares the letters up to the first special one by themselves, and takes the rest for a
    # pattern of its own: `a**/b` matches `a/b` by that.
    begin = position = special.start() if special else len(pattern)
    parts = [_literal(pattern[:begin])]
    while position < len(pattern):
        letter = pattern[position : position + 1]
        if letter == b"*":
            part, position = _stars(pattern, begin, position, any_byte)
        elif letter == b"[":
            part, position = _bracket(pattern, position, any_byte)
        elif letter == b"?":
            part, position = any_byte, position + 1
        else:
            position += letter == b"\\"
            part = _literal(pattern[position : position + 1])
            position += 1
        if not part:
            return None
        parts.append(part)
    return b"".join(parts)


def _literal(text: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in text)


def _stars(pattern: bytes, begin: int, position: int, any_byte: bytes) -> tuple[bytes, int]:
    """Return the expression of the stars at `position`, and the position behind them."""
    after = position
    while pattern[after : after + 1] == b"*":
        after += 1
    is_double = after - position > 1
    starts = position == begin or pattern[position - 1 : position] == b"/"
    rest = pattern[after:]
    if is_double and starts and rest.startswith(b"/") and any_byte != b".":
        return b"(?:.*/)?", after + 1
    if is_double and starts and (not rest or rest.startswith(b"\\/")):
        return b".*", after
    return any_byte + b"*", after


_CLASSES = {
    b"alnum": rb"[0-9A-Za-z]",
    b"alpha": rb"[A-Za-z]",
    b"blank": rb"[ \t]",
    b"cntrl": rb"[\x00-\x1f\x7f]",
    b"digit": rb"[0-9]",
    b"graph": rb"[!-~]",
    b"lower": rb"[a-z]",
    b"print": rb"[ -~]",
    b"punct": rb"[!-/:-@\[-`{-~]",
    b"space": rb"[ \t\n\r]",
    b"upper": rb"[A-Z]",
    b"xdigit": rb"[0-9A-Fa-f]",
}


def _bracket(pattern: bytes, position: int, any_byte: bytes) -> tuple[bytes, int]:
    """Return the expression of the bracket at `position`, and the position behind it.

    The expression is empty if the bracket matches nothing.
    """
    position += 1
    negated = pattern[position : position + 1] in (b"!", b"^")
    position += negated
    members: set[int] = set()
    before = 0  # the member that a hyphen makes a range with
    first = True
    while first or pattern[position : position + 1] != b"]":
        first = False
        named = _class_at(pattern, position)
        if named is not None:
            name, position = named
            if name not in _CLASSES:
                return b"", position
            members.update(byte for byte in range(256) if re.match(_CLASSES[name], bytes([byte])))
            before = 0
            continue
        is_range = (
            pattern[position : position + 1] == b"-"
            and before
            and pattern[position + 1 : position + 2] not in (b"", b"]")
        )
        position += bool(is_range)
        position += pattern[position : position + 1] == b"\\"
        if position >= len(pattern):
            return b"", position
        members.update(range(before if is_range else pattern[position], pattern[position] + 1))
        before = 0 if is_range else pattern[position]
        position += 1
    if negated:
        members = set(range(256)) - members
    if any_byte != b".":
        members.discard(ord("/"))
    if not members:
        return b"", position + 1
    return b"[" + _literal(bytes(sorted(members))) + b"]", position + 1


def _class_at(pattern: bytes, position: int) -> tuple[bytes, int] | None:
    """Return the name of the class such as `[:alpha:]` at `position`, and the position behind."""
    if pattern[position : position + 2] != b"[:":
        return None
    end = pattern.find(b"]", position + 2)
    if end < 0 or end - 1 < position + 2 or pattern[end - 1 : end] != b":":
        return None
    return pattern[position + 2 : end - 1], end + 1


Rules = tuple[GitignorePatterns, ...]
"""The patterns that have a say in a folder, the last with a matching line decides."""


def is_ignored(path: str, rules: Rules, *, is_folder: bool) -> bool:
    """Return whether `rules` ignore the absolute `path`. Its folder is not ignored."""
    for patterns in reversed(rules):
        verdict = patterns.verdict(path, is_folder=is_folder)
        if verdict is not None:
            return verdict
    return False


def read_patterns(
    path: str, folder: str, *, follow: bool = True, fold_case: bool = False
) -> GitignorePatterns | None:
    """Return the patterns in the file `path` for the paths below `folder`; None without one.

    git does not follow a .gitignore that is a link.
    """
    if os.path.isdir(path) or (not follow and os.path.islink(path)):
        return None
    try:
        content = read_bounded(path, LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("%s is not honoured: %s", path, error.strerror)
        return None
    content = content.removeprefix(b"\xef\xbb\xbf").partition(b"\0")[0]
    lines = (line.removesuffix(b"\r") for line in content.split(b"\n"))
    return GitignorePatterns(folder, lines, fold_case=fold_case) or None


def rules_within(folder: str, outer: Rules, *, fold_case: bool = False) -> Rules:
    """Return the rules for the files in `folder`: `outer` and its own .gitignore."""
    path = os.path.join(folder, ".gitignore")
    own = read_patterns(path, folder, follow=False, fold_case=fold_case)
    return (*outer, own) if own else outer


class GitRepository(NamedTuple):
    """A folder with a `.git`, and what its configuration says of ignored paths."""

    root: str
    rules: Rules
    fold_case: bool

    @classmethod
    def at(cls, root: str) -> GitRepository:
        """Read the rules of the repository in `root` that lie outside its tree."""
        git = _git_folder(root)
        names = [*git_config_files(), os.path.join(git, "config")]
        core: dict[str, str] = {}
        for name in names:
            core.update(_read_core(name))
        fold_case = core.get("ignorecase", "").lower() in {"true", "yes", "on", "1"}
        excludes = os.path.expanduser(core.get("excludesfile", git_ignore_file()))
        found = [
            read_patterns(path, root, fold_case=fold_case)
            for path in (os.path.join(root, excludes), os.path.join(git, "info", "exclude"))
        ]
        return cls(root, tuple(each for each in found if each), fold_case)

    def rules_above(self, folder: str) -> Rules | None:
        """Return the rules of the repository for `folder` without its own .gitignore.

        None if they ignore `folder` itself.
        """
        rules = self.rules
        current = self.root
        for name in os.path.relpath(folder, self.root).split(os.sep):
            if name == os.curdir:
                break
            rules = rules_within(current, rules, fold_case=self.fold_case)
            current = os.path.join(current, name)
            if is_ignored(current, rules, is_folder=True):
                return None
        return rules


def is_repository(folder: str) -> bool:
    """Return whether git takes `folder` for the root of a repository."""
    path = os.path.join(folder, ".git")
    if os.path.isdir(path):
        parts = ("HEAD", "objects", "refs")
        return all(os.path.lexists(os.path.join(path, part)) for part in parts)
    return os.path.isfile(path) and _git_folder(folder) != path


def repository_around(folder: str) -> str | None:
    """Return the nearest of `folder` and its parents that holds a `.git`; None without one."""
    while not os.path.lexists(os.path.join(folder, ".git")):
        folder, below = os.path.dirname(folder), folder
        if folder == below:
            return None
    return folder


def _git_folder(root: str) -> str:
    """Return the folder of git's own files of `root`: `.git`, or where that file leads to."""
    path = os.path.join(root, ".git")
    if os.path.isfile(path):
        named = _first_line(path)
        if named.startswith("gitdir: "):
            path = os.path.join(root, named.removeprefix("gitdir: "))
            common = _first_line(os.path.join(path, "commondir"))  # of a further worktree
            path = os.path.normpath(os.path.join(path, common))
    return path


def _first_line(path: str) -> str:
    try:
        return os.fsdecode(read_bounded(path, 4096)).partition("\n")[0]
    except OSError:
        return ""


_SETTING = re.compile(r"\s*(?:\[(?P<section>[^\]]*)\]\s*)?(?:(?P<key>[\w-]+)\s*=\s*(?P<value>.*))?")


def _read_core(path: str) -> dict[str, str]:
    """Return the settings of `[core]` in a configuration file of git, without what it includes."""
    try:
        lines: Sequence[str] = os.fsdecode(read_bounded(path, LARGEST)).split("\n")
    except OSError:
        return {}
    section = ""
    core: dict[str, str] = {}
    for line in lines:
        match: Any = _SETTING.match(line)
        section = section if match["section"] is None else match["section"].strip().lower()
        if match["key"] and section == "core":
            value = re.sub(r"\s*(?:[#;].*)?$", "", match["value"].strip())
            core[match["key"].lower()] = value.strip('"')
    return core
