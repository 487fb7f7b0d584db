"""Files that are whole or not there: written beside, synced, renamed into place."""

from __future__ import annotations

import os


def beside(path: str) -> str:
    """Return a fresh hidden name in the folder of `path`, for what will be renamed to `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}-{os.urandom(4).hex()}")


def write_whole(path: str, content: bytes) -> None:
    """Write `content` to `path` so that a reader, or a crash, sees the old file or the new one."""
    staged = beside(path)
    try:
        with open(staged, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    except BaseException:
        remove_file(staged)
        raise
    sync(os.path.dirname(path) or ".")


def remove_file(path: str) -> None:
    """Remove `path` if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def sync(path: str) -> None:
    """Have the content of file `path`, or the names in folder `path`, reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
