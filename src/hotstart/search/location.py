"""Where the index of a folder, or of several, is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from hotstart.config import indexes_folder
from hotstart.errors import (
    HotstartError,
    IndexBusy,
    IndexDamaged,
    IndexMissing,
    InvalidInput,
)

HOME = ".hotstart"
"""The folder, within the indexed one, that holds the index and nothing else."""

DATABASE = "index.db"

_RECORD = "folders.json"
_LOCK = "lock"
_IGNORED = ".gitignore"
_LARGEST = 1_000_000  # bytes of a record


class IndexLocation(NamedTuple):
    """The folder that holds an index, and the folders that it is of.

    Attributes:
        home: the folder of the index.
        root: what the paths of hits are relative to: the indexed folder, or the parent of several.
        folders: the indexed folders.
    """

    home: str
    root: str
    folders: tuple[str, ...]

    @property
    def exists(self) -> bool:
        """Whether there is an index."""
        return os.path.isfile(os.path.join(self.home, DATABASE))

    @property
    def is_within(self) -> bool:
        """Whether the index lies in the one folder that it is of."""
        return self.home == os.path.join(self.root, HOME)

    @property
    def lock(self) -> str:
        """The lock file of those who write the index."""
        return os.path.join(self.home, _LOCK)

    def size(self) -> int:
        """Return the bytes of the index."""
        files = (
            os.path.join(folder, name) for folder, _, names in os.walk(self.home) for name in names
        )
        return sum(os.lstat(path).st_size for path in files if os.path.exists(path))

    def changed_at(self) -> float:
        """Return when the index was changed last, in seconds since the epoch."""
        paths = (os.path.join(self.home, name) for name in (DATABASE, f"{DATABASE}-wal"))
        return max(os.stat(path).st_mtime for path in paths if os.path.exists(path))

    def refuse_links(self) -> None:
        """Raise IndexDamaged for a link: a foreign folder's may lead to files of the user."""
        names = ("", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", _LOCK, "lexical", _IGNORED)
        for path in (os.path.join(self.home, name) if name else self.home for name in names):
            if os.path.islink(path):
                remedy = "Remove the link, then run hotstart index again"
                raise IndexDamaged(path, reason="it is a symbolic link", remedy=remedy)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Make the folder of the index and hold its lock.

        Raises:
            IndexBusy: another process holds it.
            IndexDamaged: the folder cannot be written.
            InvalidInput: it holds other files, or the index of other folders.
        """
        from hotstart.files import exclusive, write_whole

        try:
            self._claim()
            with exclusive(self.lock, wait=False) as held:
                if not held:
                    raise IndexBusy(self.root)
                ignored = os.path.join(self.home, _IGNORED)
                if not os.path.exists(ignored):
                    write_whole(ignored, b"*\n")
                yield
        except HotstartError:  # some are OSErrors: a TimeoutError is one
            raise
        except OSError as error:
            remedy = "Check the space and the permissions of the folder, then run this again"
            reason = error.strerror or str(error)
            raise IndexDamaged(self.home, reason=reason, remedy=remedy) from error

    def _claim(self) -> None:
        """Make the home; record the folders in one outside of them."""
        if self.is_within:
            with suppress(FileExistsError):
                os.mkdir(self.home)  # never the folder itself, which may have gone
            return
        os.makedirs(self.home, exist_ok=True)
        if self.exists:
            known = stored_location(self.home).folders
            if not set(known) & set(self.folders):
                expected = "the store of these folders or a new one, it holds " + ", ".join(known)
                raise InvalidInput("store", got=self.home, expected=expected)
        elif set(os.listdir(self.home)) - {_RECORD, _IGNORED, _LOCK, "lexical"}:
            expected = "a new or empty folder, or the store of an index"
            raise InvalidInput("store", got=self.home, expected=expected)
        from hotstart.files import write_whole

        content = json.dumps({"folders": self.folders}, ensure_ascii=True)
        write_whole(os.path.join(self.home, _RECORD), content.encode())


def locate(paths: Sequence[str], store: str | None = None) -> IndexLocation:
    """Return where the index of the folders `paths` is, or will be made.

    Without `store`, in the folder itself; for a folder that cannot be written, in the cache folder.

    Raises:
        InvalidInput: no folder is given, or several without a `store`.
    """
    folders = _outermost([os.path.abspath(path) for path in paths])
    if not folders:
        raise InvalidInput("path", got=list(paths), expected="a folder")
    root = os.path.commonpath(folders)
    if store is not None:
        return IndexLocation(os.path.realpath(store), root, folders)
    if len(folders) > 1:
        raise InvalidInput("path", got=list(paths), expected="one folder, or several with a store")
    within = IndexLocation(os.path.join(root, HOME), root, folders)
    if within.exists:
        return within
    cached = IndexLocation(_cached_home(root), root, folders)
    if cached.exists or (os.path.isdir(root) and not os.access(root, os.W_OK)):
        return cached
    return within


def stored_location(store: str) -> IndexLocation:
    """Return the location of the index in the folder `store`.

    Raises:
        IndexMissing: there is none.
        IndexDamaged: its record cannot be read.
    """
    home = os.path.realpath(store)
    path = os.path.join(home, _RECORD)
    if not os.path.isfile(path):
        raise IndexMissing(store, is_store=True)
    try:
        from hotstart.files import read_bounded

        folders = json.loads(read_bounded(path, _LARGEST))["folders"]
        return locate([os.fspath(folder) for folder in folders], home)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise IndexDamaged(path, reason=f"its record cannot be read ({error})") from error


def _outermost(folders: Sequence[str]) -> tuple[str, ...]:
    """Return `folders` without those that lie in another of them."""
    return tuple(
        folder
        for folder in sorted(set(folders))
        if not any(
            folder != other and folder.startswith(os.path.join(other, "")) for other in folders
        )
    )


def _cached_home(root: str) -> str:
    """Return the folder of the index of `root` in the cache folder."""
    import hashlib

    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return os.path.join(indexes_folder(), f"{os.path.basename(root) or 'root'}-{digest}")
