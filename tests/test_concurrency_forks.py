"""Forks in the midst of other threads' work: no child finds a lock held, or a change half made."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hotstart.concurrency import ForkLock

Python = Callable[..., "CompletedProcess[str]"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def test_a_child_never_sees_a_change_half_made() -> None:
    lock, pair, ended = ForkLock(), [0, 0], threading.Event()

    def change() -> None:
        while not ended.is_set():
            with lock:
                pair[0] += 1
                sum(range(1000))
                pair[1] += 1

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            child = os.fork()
            if not child:
                with lock:
                    os._exit(0 if pair[0] == pair[1] else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_a_fork_waits_for_the_one_who_holds_the_lock() -> None:
    lock, held, told = ForkLock(), threading.Event(), []

    def hold() -> None:
        with lock:
            held.set()
            threading.Event().wait(0.1)
            told.append("released")

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    child = os.fork()
    if not child:
        os._exit(len(told))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    thread.join(60)


def test_threads_that_fork_at_once_do_not_hold_each_other_up(python: Python) -> None:
    """In a process of its own: filelock, once imported, refuses to fork in two threads at once."""
    done = python("-c", FORKING_THREADS)
    assert done.returncode == 0, done.stderr


FORKING_THREADS = """
import os, threading
from hotstart.concurrency import ForkLock

lock = ForkLock()

def fork():
    for _ in range(10):
        with lock:
            pass
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

threads = [threading.Thread(target=fork, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
assert not any(thread.is_alive() for thread in threads)
"""


def test_a_lock_that_nobody_has_is_forgotten() -> None:
    gone = weakref.ref(ForkLock())
    gc.collect()
    assert gone() is None
