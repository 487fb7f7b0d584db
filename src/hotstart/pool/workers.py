"""The worker threads that run blocking calls."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from hotstart.concurrency import IdleThreads, reset_after_fork
from hotstart.errors import described
from hotstart.system import available_cores

T = TypeVar("T")

_WAITING = 32  # concurrent calls that wait for a server or for the code of a model


class DaemonExecutor(Executor):
    """Runs calls in up to `most` daemon threads, in the order of submission.

    The threads of `ThreadPoolExecutor` keep a process alive until each call has returned; a model
    may never return.
    """

    def __init__(self, most: int) -> None:
        self._threads = IdleThreads("hotstart-encode", most)
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, call: Callable[..., T], /, *arguments: Any, **options: Any) -> Future[T]:
        """Return the future of `call(*arguments, **options)`.

        The future never has StopIteration or an exception that is no Exception: it has a
        RuntimeError with the exception as its cause, because an asyncio task cannot raise the
        first and ends its loop with the others.

        Raises:
            RuntimeError: the system cannot start a thread.
        """
        future: Future[T] = Future()
        with self._threads.changed:
            self._threads.wake(self._serve)
            self._calls.append((future, functools.partial(call, *arguments, **options)))
        return future

    def _serve(self) -> None:
        while True:
            with self._threads.changed:
                if not self._threads.wait_for_work(lambda: self._calls):
                    return
                future, call = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                _run(future, call)
            del future, call  # an idle thread keeps no arguments and no result


def _run(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
        is_plain = isinstance(error, Exception) and not isinstance(error, StopIteration)
        future.set_exception(error if is_plain else _wrapped(error))
    else:
        future.set_result(result)


def _wrapped(error: BaseException) -> RuntimeError:
    wrapped = RuntimeError(f"a worker thread raised {described(error)}")
    wrapped.__cause__ = error
    return wrapped


class Workers:
    """The worker threads of this process: a few that compute, many that wait for remote servers."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the threads exist in the parent only."""
        self._lock = threading.Lock()
        self._executors: dict[bool, DaemonExecutor] = {}

    def get(self, waits: bool) -> DaemonExecutor:
        """Return the executor of calls that compute, or of calls that wait."""
        with self._lock:
            if waits not in self._executors:
                # More threads than cores would only contend to compute.
                number = _WAITING if waits else available_cores() + 1
                self._executors[waits] = DaemonExecutor(number)
            return self._executors[waits]


workers = Workers()
