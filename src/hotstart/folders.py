"""Folders that are whole or not there: filled beside, synced, renamed into place."""

from __future__ import annotations

import os
import shutil

from hotstart.files import beside, remove_file, sync


def place_folder(staged: str, path: str) -> None:
    """Move the finished folder `staged` to `path`, replacing a folder that is there.

    Every file is synced first. Between the two renames of a replacement there is an instant
    without `path`; a crash in it leaves no folder, never a half-written one.
    """
    for folder, _, names in os.walk(staged):
        for name in names:
            sync(os.path.join(folder, name))
        sync(folder)
    if os.path.lexists(path):
        discarded = beside(path)
        os.rename(path, discarded)
        os.rename(staged, path)
        shutil.rmtree(discarded, ignore_errors=True)
    else:
        os.rename(staged, path)
    sync(os.path.dirname(path))


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
