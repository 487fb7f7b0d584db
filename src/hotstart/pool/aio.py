"""The asyncio edge: wait for models and run calls without blocking the loop.

Objects bound to an event loop are created where they are awaited, so that any number of loops and
threads may use one instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import itertools
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, TypeVar

from hotstart.concurrency import Deadline
from hotstart.errors import NotReady
from hotstart.pool.instance import Instance
from hotstart.pool.workers import workers

T = TypeVar("T")


async def until_ready(instance: Instance[Any], timeout: float | None) -> None:
    """Wait until the model of `instance` is ready, loading it if needed.

    A cancellation or timeout affects neither the load nor other callers.

    Raises:
        NotReady: the model was not ready within `timeout` seconds.
        HotstartError: the load failed.
    """
    deadline = Deadline(timeout)
    while not instance.wait(0):
        loop = asyncio.get_running_loop()
        settled = loop.create_future()
        instance.when_settled(functools.partial(_wake, loop, settled))
        try:
            await asyncio.wait_for(settled, deadline.left)
        except asyncio.TimeoutError:
            raise instance.not_ready() from None


async def is_ready_within(instance: Instance[Any], timeout: float | None) -> bool:
    """Return whether the model is ready within `timeout` seconds; see `until_ready`."""
    try:
        await until_ready(instance, timeout)
    except NotReady:
        return False
    return True


async def in_thread(call: Callable[..., T], *arguments: Any, waits: bool = False) -> T:
    """Return what `call` returns, computed by a worker thread.

    Args:
        call: the function to call.
        *arguments: its positional arguments.
        waits: whether `call` waits for a remote server rather than computes.
    """
    loop = asyncio.get_running_loop()
    work = functools.partial(contextvars.copy_context().run, call, *arguments)
    return await loop.run_in_executor(workers.get(waits), work)


def in_background(waits: bool, call: Callable[..., object], *arguments: Any) -> None:
    """Run `call` in a worker thread; `call` reports its own outcome."""
    workers.get(waits).submit(contextvars.copy_context().run, call, *arguments)


async def all_done(futures: Collection[Future[Any]], timeout: float | None) -> bool:
    """Return whether all of `futures` end within `timeout` seconds, with one wake-up for all.

    A cancellation or timeout cancels none of them.
    """
    loop = asyncio.get_running_loop()
    settled = loop.create_future()
    left = itertools.count(len(futures) - 1, -1)  # next() is atomic

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


def _wake(loop: asyncio.AbstractEventLoop, settled: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed: no coroutine waits any more
        loop.call_soon_threadsafe(_finish, settled)


def _finish(settled: asyncio.Future[None]) -> None:
    if not settled.done():
        settled.set_result(None)
