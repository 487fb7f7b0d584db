"""The asyncio edge: wait for models and run calls without blocking the loop.

Objects bound to an event loop are made where they are awaited, so any number of loops, and threads
beside them, may use one instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import itertools
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from hotstart.concurrency import reset_after_fork
from hotstart.errors import NotReady
from hotstart.pool.instance import Instance
from hotstart.system import available_cores

T = TypeVar("T")

_WAITING = 32  # calls at a time that wait for other machines


async def until_ready(instance: Instance[Any], timeout: float | None) -> None:
    """Return when the model of `instance` is ready, having had it loaded if need be.

    Being cancelled, or giving up, harms neither the load nor anybody else who waits.

    Raises:
        NotReady: not within `timeout` seconds.
        HotstartError: the load failed.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while not instance.wait(0):
        loop = asyncio.get_running_loop()
        settled = loop.create_future()
        instance.when_settled(functools.partial(_wake, loop, settled))
        left = None if deadline is None else deadline - time.monotonic()
        try:
            await asyncio.wait_for(settled, left)
        except asyncio.TimeoutError:
            raise instance.not_ready() from None


async def is_ready_within(instance: Instance[Any], timeout: float | None) -> bool:
    """Do what `until_ready` does; return whether it was in time, in place of NotReady."""
    try:
        await until_ready(instance, timeout)
    except NotReady:
        return False
    return True


async def in_thread(call: Callable[..., T], *arguments: Any, waits: bool = False) -> T:
    """Return what `call` returns, computed by a worker thread.

    Args:
        call: called with `arguments`.
        arguments: its own.
        waits: whether it waits for another machine rather than computes.
    """
    loop = asyncio.get_running_loop()
    work = functools.partial(contextvars.copy_context().run, call, *arguments)
    return await loop.run_in_executor(_workers.get(waits), work)


def in_background(waits: bool, call: Callable[..., object], *arguments: Any) -> None:
    """Run `call` in a worker thread; `call` reports its own outcome."""
    _workers.get(waits).submit(contextvars.copy_context().run, call, *arguments)


async def all_done(futures: Collection[Future[Any]], timeout: float | None) -> bool:
    """Return whether all of `futures` end within `timeout` seconds; one wake-up for all of them.

    Being cancelled, or giving up, cancels none of them.
    """
    loop = asyncio.get_running_loop()
    settled = loop.create_future()
    left = itertools.count(len(futures) - 1, -1)  # next() is one step, whichever thread takes it

    def one_less(_: Future[Any]) -> None:
        if next(left) == 0:
            _wake(loop, settled)

    for future in futures:
        future.add_done_callback(one_less)
    if futures:
        try:
            await asyncio.wait_for(settled, timeout)
        except asyncio.TimeoutError:
            return False
    return True


class _Workers:
    """The worker threads of this process: a few that compute, many that wait for other machines."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the threads exist in the parent only."""
        self._lock = threading.Lock()
        self._executors: dict[bool, ThreadPoolExecutor] = {}

    def get(self, waits: bool) -> ThreadPoolExecutor:
        with self._lock:
            if waits not in self._executors:
                # More threads than cores would only contend to compute.
                number = _WAITING if waits else available_cores() + 1
                self._executors[waits] = ThreadPoolExecutor(
                    number, thread_name_prefix="hotstart-encode"
                )
            return self._executors[waits]


_workers = _Workers()


def _wake(loop: asyncio.AbstractEventLoop, settled: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(_finish, settled)


def _finish(settled: asyncio.Future[None]) -> None:
    if not settled.done():
        settled.set_result(None)
