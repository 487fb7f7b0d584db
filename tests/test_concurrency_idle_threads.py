from __future__ import annotations

import threading
from collections import deque

import pytest

from hotstart.concurrency import IdleThreads
from support.waiting import wait_until


class Worker:
    """Squares numbers in idle threads."""

    def __init__(self, most: int, idle_seconds: float = 60.0) -> None:
        self.threads = IdleThreads("test-idle", most, idle_seconds)
        self.waiting: deque[int] = deque()
        self.done: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def put(self, number: int) -> None:
        with self.threads.changed:
            self.waiting.append(number)
            self.threads.wake(self.work)

    def work(self) -> None:
        while True:
            with self.threads.changed:
                if not self.threads.wait_for_work(lambda: self.waiting):
                    return
                number = self.waiting.popleft()
            self.gate.wait(60)
            self.done.append(number**2)


def running() -> int:
    return sum(thread.name == "test-idle" for thread in threading.enumerate())


def test_idle_thread_takes_later_work() -> None:
    worker = Worker(most=1)
    for number in range(3):
        worker.put(number)
        wait_until(lambda number=number: len(worker.done) == number + 1)  # type: ignore[misc]
    assert worker.done == [0, 1, 4]
    assert running() >= 1


def test_no_more_than_most_threads_start() -> None:
    worker = Worker(most=2)
    worker.gate.clear()
    before = running()
    for number in range(10):
        worker.put(number)
    assert running() - before == 2
    worker.gate.set()
    wait_until(lambda: len(worker.done) == 10)


def test_thread_ends_without_work_and_a_new_one_starts() -> None:
    before = running()
    worker = Worker(most=1, idle_seconds=0.05)
    worker.put(2)
    wait_until(lambda: running() == before)
    worker.put(3)
    wait_until(lambda: worker.done == [4, 9])


def test_thread_that_cannot_start_raises_and_the_next_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker(most=1)
    with monkeypatch.context() as patch:

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            worker.put(1)
    worker.put(2)
    wait_until(lambda: sorted(worker.done) == [1, 4])
