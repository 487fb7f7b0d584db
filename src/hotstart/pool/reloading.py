"""A load whose outcome is awaited, apart from what serves meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from hotstart.errors import HotstartError, LoadFailed
from hotstart.pool.load import Attempt
from hotstart.pool.promotion import Slot
from hotstart.types import Progress, Stage

T = TypeVar("T")


def load_apart(
    name: str,
    stage: Stage,
    *,
    timeout: float | None,
    load: Callable[[Stage, Progress], T],
    discard: Callable[[T], None],
) -> Slot[T]:
    """Load in a thread of its own and return the outcome.

    Raises:
        LoadTimeout: it took longer than `timeout` seconds; what still comes of it is discarded.
        HotstartError: it failed, for the reason it states.
    """
    outcome: Future[Slot[T]] = Future()
    Attempt(
        *(name, stage),
        timeout=timeout,
        load=load,
        loaded=outcome.set_result,
        failed=outcome.set_exception,
        discard=discard,
    ).start()
    try:
        return outcome.result()
    except HotstartError:
        raise
    except Exception as error:
        raise LoadFailed(name, error=error, retry_in=0.0) from error
