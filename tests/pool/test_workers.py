from __future__ import annotations

import threading
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hotstart.pool.workers import DaemonExecutor


class Odd(BaseException):
    """No Exception, and without a message that can be formatted."""

    def __str__(self) -> str:
        raise AttributeError("what")


def raises(error: BaseException) -> None:
    raise error


def test_calls_return_and_raise_through_their_futures() -> None:
    executor = DaemonExecutor(2)
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 7, 0).result(60)


@pytest.mark.parametrize("error", [StopIteration(1), SystemExit(7), KeyboardInterrupt(), Odd()])
def test_what_a_task_cannot_raise_becomes_a_runtime_error(error: BaseException) -> None:
    with pytest.raises(RuntimeError, match=type(error).__name__) as caught:
        DaemonExecutor(1).submit(raises, error).result(60)
    assert caught.value.__cause__ is error


def test_at_most_so_many_calls_run_at_once() -> None:
    executor = DaemonExecutor(2)
    running = threading.Semaphore(0)
    gate = threading.Event()

    def call() -> bool:
        running.release()
        return gate.wait(60)

    futures = [executor.submit(call) for _ in range(5)]
    assert running.acquire(timeout=60)
    assert running.acquire(timeout=60)
    assert not running.acquire(timeout=0.05)
    gate.set()
    assert [future.result(60) for future in futures] == [True] * 5


def test_a_cancelled_call_does_not_run() -> None:
    executor = DaemonExecutor(1)
    gate = threading.Event()
    ran: list[int] = []
    first = executor.submit(gate.wait, 60)
    second = executor.submit(ran.append, 2)
    assert second.cancel()
    gate.set()
    assert first.result(60)
    assert executor.submit(ran.append, 3).result(60) is None
    assert ran == [3]


def test_a_thread_that_cannot_start_fails_the_call_and_the_next_call_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = DaemonExecutor(1)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(divmod, 7, 2)
    assert executor.submit(divmod, 7, 2).result(60) == (3, 1)


def test_a_call_that_never_returns_does_not_keep_the_process(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    done = python(
        "-c",
        "import sys, time\n"
        "from hotstart.pool.workers import DaemonExecutor\n"
        "future = DaemonExecutor(1).submit(time.sleep, 10**6)\n"
        "while not future.running(): pass\n"
        "sys.exit(7)",
    )
    assert (done.returncode, done.stderr) == (7, "")
