"""Locks between processes, and the one that torch asks of a process."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hotstart._lazy import require

constructing = threading.Lock()
"""Held while torch or transformers is imported or makes a model: two at once break one another."""


@contextmanager
def exclusive(path: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path` exclusively; yields whether it is held.

    With `wait` false, a lock held elsewhere is not waited for: False is yielded. The kernel
    releases the lock of a process that dies. The file itself stays.
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
