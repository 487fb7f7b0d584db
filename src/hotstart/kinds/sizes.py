"""How much of a disk a model takes."""

from __future__ import annotations

import os


def bytes_on_disk(path: str) -> int:
    """Return the bytes in the file or folder `path`, 0 where there is none.

    Symbolic links to files count as what they lead to, as a Hugging Face cache is made of them; a
    file that is there twice counts once.
    """
    seen: dict[tuple[int, int], int] = {}
    names = [path]
    for folder, _, files in os.walk(path):
        names += [os.path.join(folder, name) for name in files]
    for name in names:
        try:
            status = os.stat(name)
        except OSError:  # a broken link, or removed meanwhile
            continue
        if not os.path.isdir(name):
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
