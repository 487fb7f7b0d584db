"""Find and read the files of a folder."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hotstart.config import git_environment
from hotstart.errors import InvalidInput
from hotstart.files import open_regular
from hotstart.search.formats import document_text, is_document, largest, readable
from hotstart.search.gitignore import (
    GitignorePatterns,
    GitRepository,
    Rules,
    is_ignored,
    is_repository,
    repository_around,
    rules_within,
)
from hotstart.search.text import (
    PROBE,
    Reason,
    SkippedFile,
    decode,
    is_binary,
    kind_by_name,
    kind_by_text,
)

logger = logging.getLogger(__name__)

Skipped = dict[str, Reason]
"""What is passed over, by its relative path, that of a folder with a slash at its end."""


class FoundFile(NamedTuple):
    """A file found in a folder, by its relative path.

    `is_named`: a glob asks for it, so that it may be data, a lock file or generated.
    """

    path: str
    size: int
    mtime_ns: int
    is_named: bool = False


@dataclass(frozen=True)
class FileContent:
    """The text of a file, and the digest of its bytes."""

    text: str
    sha256: str


class FileSelection:
    """The globs that choose among the files of `root`, written as in its .gitignore.

    Args:
        include: only what these match is taken, also lock files, data and generated files; hidden
            files if the glob itself names the dot. Without any, everything.
        exclude: what these match is not taken.
    """

    def __init__(self, root: str, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self.root = root
        self._include = _globs(root, "include", include)
        self._exclude = _globs(root, "exclude", exclude)
        named = [glob for glob in include if _NAMES_HIDDEN.search(glob)]
        self._hidden = _globs(root, "include", named)
        self.shows_hidden = bool(named)

    def takes(self, path: str) -> bool:
        """Return whether the file of the relative `path` is chosen."""
        included = self._include is None or self._include.covers(path)
        return included and not (self._exclude and self._exclude.covers(path))

    def names(self, path: str) -> bool:
        """Return whether a glob asks for the file `path`, whatever its kind."""
        return self._include is not None and self._include.covers(path)

    def shows(self, path: str) -> bool:
        """Return whether a glob asks for the hidden file `path`."""
        return self._hidden is not None and self._hidden.covers(path)

    def prunes(self, folder: str) -> bool:
        """Return whether nothing below the absolute `folder` is chosen."""
        is_below = folder.startswith(os.path.join(self.root, ""))  # not if the root is a link
        return bool(is_below and self._exclude and self._exclude.verdict(folder, is_folder=True))


_NAMES_HIDDEN = re.compile(r"(?:^|/)\.[^/]")


def _globs(root: str, name: str, globs: Sequence[str]) -> GitignorePatterns | None:
    if not globs:
        return None
    for glob in globs:
        if not GitignorePatterns(root, [os.fsencode(glob)]):
            raise InvalidInput(name, got=glob, expected="a glob as in .gitignore")
    return GitignorePatterns(root, [os.fsencode(glob) for glob in globs])


def find_documents(
    root: str, skipped: Skipped, selection: FileSelection | None = None
) -> Iterator[FoundFile]:
    """Yield the files below `root` in a fixed order; note what is passed over in `skipped`.

    In a repository these are the files that `git ls-files -co --exclude-standard` prints. Not noted
    are ignored paths and what `selection` leaves out.
    """
    root = os.path.abspath(root)
    selection = selection or FileSelection(root)
    for path in sorted(_list_folder(root, skipped, selection), key=_files_before_folders):
        if not selection.takes(path):
            continue
        hidden = _HIDDEN.match(path)
        if hidden and not selection.shows(path):
            skipped[hidden[0]] = "hidden"
        elif path.endswith("/"):
            skipped[path] = "another repository"
        else:
            found = _judge(root, path, skipped, selection)
            if found is not None:
                yield found


_HIDDEN = re.compile(r"(?:[^/.][^/]*/)*\.[^/]*/?")


def _files_before_folders(path: str) -> list[tuple[bool, str]]:
    folders = path.split("/")
    name = folders.pop()
    return [*((True, folder) for folder in folders), (False, name)]


def _judge(root: str, path: str, skipped: Skipped, selection: FileSelection) -> FoundFile | None:
    """Return the file `path` of `root`; None if its name, kind or size excludes it."""
    try:
        path.encode()
        status = os.lstat(os.path.join(root, path))
    except UnicodeEncodeError:
        skipped[os.fsencode(path).decode(errors="backslashreplace")] = "name is not Unicode"
    except (FileNotFoundError, NotADirectoryError):  # removed, and maybe still tracked
        return None
    except OSError:
        skipped[path] = "unreadable"
    else:
        named = selection.names(path)
        reason = _objection(path, status) or kind_by_name(path, status.st_size, is_named=named)
        if reason is None:
            return FoundFile(path, status.st_size, status.st_mtime_ns, named)
        skipped[path] = reason
    return None


def _objection(path: str, status: os.stat_result) -> Reason | None:
    """Return why `path`, which has this `status`, is not read."""
    if stat.S_ISLNK(status.st_mode):
        return "link"
    if stat.S_ISDIR(status.st_mode):  # a submodule
        return "another repository"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    return "too large" if status.st_size > largest(path) else None


def _list_folder(root: str, skipped: Skipped, selection: FileSelection) -> set[str]:
    """Return the relative paths of the files below `root` that are not ignored.

    With a slash at its end: a repository within a repository.
    """
    root = os.path.realpath(root)  # a link into a repository leads to its rules
    around = repository_around(root)
    if around is None:
        return _Walk(root, skipped, selection).run()
    # A folder that the user names is searched, although the repository around ignores it.
    if around != root and _run_git(root, "check-ignore", "-q", "--no-index", "."):
        return _Walk(root, skipped, selection).run()
    listing = _run_git(root, "ls-files", "-z", "-co", "--exclude-standard")
    if listing is None:  # no git, or one that refuses, as where the folder is another user's
        repository = GitRepository.at(around)
        rules = repository.rules_above(root)
        if rules is None:
            return _Walk(root, skipped, selection).run()
        return _Walk(root, skipped, selection, repository, rules).run()
    for named in _UNLISTED.findall(listing.stderr):
        folder = os.path.join(around, os.fsdecode(named))
        if folder.startswith(os.path.join(root, "")):
            _note_unreadable(folder, root, skipped)
    return {os.fsdecode(path) for path in listing.stdout.split(b"\0") if path}


_UNLISTED = re.compile(rb"could not open directory '(.*)/': ")
_PATIENCE = 60  # seconds for git; patterns may be made to take for ever


def _run_git(root: str, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    """Run git in `root`; return None if it fails.

    The configuration of a foreign repository must run no program: `core.fsmonitor` would.
    """
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.info("git does not list the files of %s: %s", root, error)
        return None
    if done.returncode > 1:  # 1 is the answer no
        logger.info("git %s in %s: %s", arguments[0], root, done.stderr.decode(errors="replace"))
    return None if done.returncode else done


class _Walk:
    """A walk through the folders below `root`, by the rules of `repository` if it is given.

    Without one, .gitignore files count all the same, and a repository on the way is listed as such.
    """

    def __init__(
        self,
        root: str,
        skipped: Skipped,
        selection: FileSelection,
        repository: GitRepository | None = None,
        rules: Rules = (),
    ) -> None:
        self._root = root
        self._skipped = skipped
        self._selection = selection
        self._repository = repository
        self._fold_case = repository is not None and repository.fold_case
        self._waiting: list[tuple[str, Rules]] = [(root, rules)]
        self._found: set[str] = set()

    def run(self) -> set[str]:
        """Return the relative paths of the files, as `_list_folder`."""
        while self._waiting:
            folder, outer = self._waiting.pop()
            rules = rules_within(folder, outer, fold_case=self._fold_case)
            for entry in self._entries(folder):
                self._take(entry, rules)
        return self._found

    def _take(self, entry: os.DirEntry[str], rules: Rules) -> None:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name in _OWN or is_ignored(entry.path, rules, is_folder=is_folder):
            return
        path = _relative(entry.path, self._root)
        if not is_folder:
            if entry.is_file(follow_symlinks=False) or entry.is_symlink():
                self._found.add(path)
        elif self._selection.prunes(entry.path):
            return
        elif entry.name.startswith(".") and not self._selection.shows_hidden:
            self._found.add(f"{path}/")
        elif not is_repository(entry.path):
            self._waiting.append((entry.path, rules))
        elif self._repository:
            self._found.add(f"{path}/")
        else:
            inner: Skipped = {}
            listed = _list_folder(entry.path, inner, self._selection)
            self._found.update(f"{path}/{each}" for each in listed)
            self._skipped.update({f"{path}/{each}": reason for each, reason in inner.items()})

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return list(entries)
        except FileNotFoundError:  # removed after its parent was listed
            return []
        except OSError:
            _note_unreadable(folder, self._root, self._skipped)
            return []


_OWN = {".git", ".hotstart"}


def _note_unreadable(folder: str, root: str, skipped: Skipped) -> None:
    logger.info("%s is passed over: it cannot be read", folder)
    skipped[f"{_relative(folder, root) or os.curdir}/"] = "unreadable"


def _relative(path: str, root: str) -> str:
    return path[len(os.path.join(root, "")) :].replace(os.sep, "/")


def read_document(path: str, *, is_named: bool = False) -> FileContent:
    """Return the content of the file `path`, also of a generated one if it `is_named`.

    Raises:
        SkippedFile: the file cannot be indexed, with the reason in the message.
        FileNotFoundError: the file was removed.
    """
    try:
        with open_regular(path) as file:
            data = file.read(PROBE)
            if is_binary(data) and not is_document(path):
                raise SkippedFile("binary")
            data += file.read(largest(path) + 1 - len(data))
    except FileNotFoundError:
        raise
    except OSError as error:
        logger.info("%s is passed over: %s", path, error.strerror)
        raise SkippedFile("unreadable") from error
    if len(data) > largest(path):
        raise SkippedFile("too large")
    text = document_text(path, data) if is_document(path) else readable(path, decode(data))
    reason = kind_by_text(path, text, is_named=is_named)
    if reason:
        raise SkippedFile(reason)
    return FileContent(text, hashlib.sha256(data).hexdigest())
