"""Bounded reads, atomic files and folders, locks between processes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from hotstart._lazy import require


def open_regular(path: str) -> BinaryIO:
    """Open the regular file `path`, or the one that it links to, for reading.

    Raises:
        OSError: the file cannot be read, or is no regular file: a FIFO would wait for ever, a
            device would never end.
    """
    # O_NONBLOCK: `path` may become a FIFO between the check and the opening.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    return open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def read_bounded(path: str, most: int) -> bytes:
    """Return the content of the regular file `path`.

    Raises:
        OSError: see `open_regular`, or the file is larger than `most` bytes.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", path)
    return content


def beside(path: str) -> str:
    """Return a new hidden name in the folder of `path`, for a file that is renamed to `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}")


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end of the block, or is removed if it raises.

    A crash leaves the old file or the new one.
    """
    staged = beside(path)
    try:
        with open(staged, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename == staged:
            error.filename = path  # the name that the caller knows
        with contextlib.suppress(OSError):
            os.unlink(staged)
        raise
    sync(os.path.dirname(path) or ".")


def write_whole(path: str, content: bytes) -> None:
    """Write `content` to `path` atomically; a crash leaves the old file or the new one."""
    with replacing(path) as file:
        file.write(content)


def remove_file(path: str) -> None:
    """Remove `path` if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def sync(path: str) -> None:
    """Flush the content of file `path`, or the names in folder `path`, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_folder(staged: str, path: str) -> None:
    """Move the complete folder `staged` to `path`, replacing an existing folder.

    Sync every file first. A crash between the two renames of a replacement leaves no folder, never
    a half-written one.
    """
    for folder, _, names in os.walk(staged):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)
    if os.path.lexists(path):
        discarded = beside(path)
        os.rename(path, discarded)
        os.rename(staged, path)
        import shutil  # shutil imports three compressors

        shutil.rmtree(discarded, ignore_errors=True)
    else:
        os.rename(staged, path)
    sync(os.path.dirname(path))


def remove_leftovers(path: str) -> None:
    """Remove the files of killed writers of `path`; the caller holds its lock."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        if entry.startswith(f".{name}."):
            leftover = os.path.join(folder, entry)
            if os.path.isdir(leftover):
                import shutil

                shutil.rmtree(leftover, ignore_errors=True)
            else:
                remove_file(leftover)


constructing = threading.Lock()
"""Held while torch or transformers is imported or makes a model: two at once break one another."""


@contextmanager
def exclusive(path: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path` exclusively; yield whether it is held.

    With `wait` false, yield False at once for a lock held elsewhere. The kernel releases the lock
    of a process that dies. The file remains.
    """
    filelock = require("filelock")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lock = filelock.FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
