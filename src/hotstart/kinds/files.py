"""Files that models are loaded from."""

from __future__ import annotations

import os

from hotstart.errors import ModelFileMissing


def read_file(path: str) -> bytes:
    """Return what the file at `path` holds; ModelFileMissing where there is none."""
    expect_file(path)
    with open(path, "rb") as file:
        return file.read()


def expect_file(path: str) -> None:
    """Raise ModelFileMissing where there is no file at `path`."""
    if not os.path.isfile(path):
        raise ModelFileMissing(path)


def bytes_on_disk(path: str) -> int:
    """Return the size of the file or folder at `path`; 0 where there is none."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(
        os.path.getsize(os.path.join(folder, name))
        for folder, _, names in os.walk(path)
        for name in names
        if os.path.isfile(os.path.join(folder, name))
    )
