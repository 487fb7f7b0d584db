"""Files and folders that are whole or not there: written beside, synced, renamed into place."""

from __future__ import annotations

import os
import secrets
import shutil


def beside(path: str) -> str:
    """Return a fresh hidden name in the folder of `path`, for what will be renamed to `path`."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}-{secrets.token_hex(4)}")


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
    sync_folder(os.path.dirname(path) or ".")


def place_folder(staged: str, path: str) -> None:
    """Move the finished folder `staged` to `path`, replacing a folder that is there.

    Every file is synced first. Between the two renames of a replacement there is an instant
    without `path`; a crash in it leaves no folder, never a half-written one.
    """
    for folder, _, names in os.walk(staged):
        for name in names:
            sync_file(os.path.join(folder, name))
        sync_folder(folder)
    if os.path.lexists(path):
        discarded = beside(path)
        os.rename(path, discarded)
        os.rename(staged, path)
        shutil.rmtree(discarded, ignore_errors=True)
    else:
        os.rename(staged, path)
    sync_folder(os.path.dirname(path))


def remove_leftovers(path: str) -> None:
    """Remove what a killed writer left `beside` `path`; the caller holds the lock of `path`."""
    folder, name = os.path.split(path)
    for entry in os.listdir(folder):
        if entry.startswith(f".{name}."):
            leftover = os.path.join(folder, entry)
            if os.path.isdir(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                remove_file(leftover)


def remove_file(path: str) -> None:
    """Remove `path` if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def sync_file(path: str) -> None:
    """Have the content of `path` reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Have the names in folder `path` reach the disk."""
    sync_file(path)
