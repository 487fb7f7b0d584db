"""The thin asyncio edge: waiting for a model, and running a call, without holding the loop up.

Objects bound to an event loop are made where they are awaited, so any number of loops, and threads
beside them, may use one instance.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from hotstart.pool.instance import Instance
from hotstart.resources import available_cores

T = TypeVar("T")


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


async def in_thread(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Return what `call` returns, computed by a worker thread."""
    loop = asyncio.get_running_loop()
    work = functools.partial(call, *arguments, **options)
    return await loop.run_in_executor(_workers(os.getpid()), work)


@functools.lru_cache(maxsize=1)
def _workers(process: int) -> ThreadPoolExecutor:
    """The workers of this process: a fork leaves the parent's behind. More would only contend."""
    return ThreadPoolExecutor(available_cores() + 1, thread_name_prefix="hotstart-encode")


def _wake(loop: asyncio.AbstractEventLoop, settled: asyncio.Future[None]) -> None:
    loop.call_soon_threadsafe(_finish, settled)


def _finish(settled: asyncio.Future[None]) -> None:
    if not settled.done():
        settled.set_result(None)
