from __future__ import annotations

import threading
import time

import pytest

from hotstart.errors import LoadFailed, LoadTimeout
from hotstart.pool import load
from hotstart.pool.instance import Instance
from hotstart.types import Progress, Stage


def test_a_load_that_hangs_has_failed_after_its_time_and_its_late_result_is_given_back() -> None:
    gate = threading.Event()
    closed: list[str] = []

    def load(stage: Stage, report: Progress, beside: object) -> str:
        report("engine", 0.5)
        gate.wait(60)
        return "model"

    instance = Instance("m", load, closed.append, load_timeout=0.1)
    began = time.monotonic()
    with pytest.raises(LoadTimeout, match=r"after 0\.1 s \(stage engine\)"):
        instance.wait()
    assert time.monotonic() - began < 5
    assert instance.state == "failed"
    gate.set()
    deadline = time.monotonic() + 10
    while not closed and time.monotonic() < deadline:
        time.sleep(0.001)
    assert closed == ["model"]
    assert instance.state == "failed"


def test_a_load_in_time_is_not_given_up() -> None:
    instance = Instance(
        "m", lambda stage, report, beside: "model", lambda model: None, load_timeout=0.05
    )
    assert instance.wait()
    time.sleep(0.1)
    assert instance.state == "ready"


def test_progress_is_told_to_those_who_listen() -> None:
    def load(stage: Stage, report: Progress, beside: object) -> str:
        report("metadata", 0.1)
        report("engine", 0.7)
        return "model"

    told: list[tuple[str, float]] = []
    instance = Instance("m", load, lambda model: None)
    instance.listen(lambda stage, fraction: told.append((stage, fraction)))
    instance.wait()
    assert told == [("metadata", 0.1), ("engine", 0.7)]


class Unprintable(Exception):
    """An exception whose message cannot be formatted, as an attribute is missing."""

    def __str__(self) -> str:
        raise AttributeError("what")


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_an_error_without_a_message_fails_the_load(timeout: float | None) -> None:
    def load(stage: Stage, report: Progress, beside: object) -> str:
        raise Unprintable

    instance = Instance("m", load, lambda model: None, load_timeout=timeout)
    with pytest.raises(LoadFailed, match="Unprintable: its message cannot be formatted"):
        instance.wait(60)
    assert instance.state == "failed"


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_thread_that_cannot_start_fails_the_load_and_the_next_load_succeeds(
    timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = Instance(
        "m", lambda stage, report, beside: "model", lambda model: None, load_timeout=timeout
    )

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(load, "FIRST_BACKOFF", 0.0)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        with pytest.raises(LoadFailed, match="can't start new thread"):
            instance.wait(60)
        assert instance.state == "failed"
    assert instance.wait(60)
