"""What threads share, across a fork: nobody is in the midst of a change at that moment.

A forked child has the memory of all its parent's threads and runs but one of them. A lock that
another one held is held for ever there, and what it guards is half done.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Settling(Protocol):
    """Guards something that threads change."""

    def settle(self) -> None:
        """Return when nobody is in the midst of a change, and let nobody begin one."""

    def resume(self) -> None:
        """Let them go on; called in the parent and in the child, by the thread that forked."""


class ForkLock:
    """A lock that is never held by another thread in a forked child.

    What runs under it takes no other lock of this kind: whoever forks takes all of them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        settle_at_fork(self)

    def settle(self) -> None:
        """Hold it."""
        self._lock.acquire()

    def resume(self) -> None:
        """Let go of it."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_registering = threading.Lock()
_living: weakref.WeakSet[Settling] = weakref.WeakSet()
_settled: list[Settling] = []


def settle_at_fork(thing: Settling) -> None:
    """Have `thing` settled before each fork of this process, as long as it lives."""
    with _registering:
        _living.add(thing)


def _settle_all() -> None:
    _registering.acquire()
    for thing in list(_living):
        thing.settle()
        _settled.append(thing)


def _resume_all() -> None:
    while _settled:
        _settled.pop().resume()
    _registering.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle_all, after_in_parent=_resume_all, after_in_child=_resume_all)
