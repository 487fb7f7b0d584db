"""Wait for a condition in a test, never for a duration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Return once `condition()` is true; fail after `timeout` seconds.

    The bound guards against a test that hangs. It is generous, because a test must hold on a slow
    machine with all cores busy.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        time.sleep(0.01)


async def until(condition: Callable[[], object], timeout: float = 60.0) -> None:
    """Return once `condition()` is true, like `wait_until`; other tasks go on meanwhile."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout} s"
        await asyncio.sleep(0.01)
