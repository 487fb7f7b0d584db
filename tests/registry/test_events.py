from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from hotstart.registry.events import ChangeEvents, StateChange


def change(name: str) -> StateChange:
    entry: Any = None
    return StateChange(name, "1", "ready", "", entry, 0.0)


def test_changes_arrive_in_order_from_one_thread() -> None:
    changes, heard = ChangeEvents(), list[tuple[str, str]]()
    changes.listen(StateChange, lambda c: heard.append((c.name, threading.current_thread().name)))
    for number in range(100):
        changes.note(change(str(number)))
    changes.close()
    assert heard == [(str(number), "hotstart-changes") for number in range(100)]


def test_failing_callback_does_not_stop_others(caplog: pytest.LogCaptureFixture) -> None:
    changes, heard = ChangeEvents(), list[str]()

    def fail(_: StateChange) -> None:
        raise RuntimeError("mine")

    changes.listen(StateChange, fail)
    changes.listen(StateChange, lambda c: heard.append(c.name))
    changes.note(change("a"))
    changes.note(change("b"))
    changes.close()
    assert heard == ["a", "b"]
    assert "A callback failed on a change of a" in caplog.text


def test_no_listener_means_no_thread_and_no_queue() -> None:
    others = set(threading.enumerate())
    changes, heard = ChangeEvents(), list[str]()
    changes.note(change("early"))
    assert set(threading.enumerate()) <= others
    changes.listen(StateChange, lambda c: heard.append(c.name))
    changes.note(change("later"))
    changes.close()
    assert heard == ["later"]


def test_an_event_after_the_end_is_dropped() -> None:
    changes, heard = ChangeEvents(), list[str]()
    changes.listen(StateChange, lambda c: heard.append(c.name))
    changes.note(change("before"))
    changes.close()
    others = set(threading.enumerate())
    changes.note(change("after"))
    assert set(threading.enumerate()) <= others
    assert heard == ["before"]
    assert changes._queue.empty()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_delivers_its_own_events() -> None:
    changes, heard = ChangeEvents(), list[str]()
    changes.listen(StateChange, lambda c: heard.append(c.name))
    changes.note(change("parent"))
    child = os.fork()
    if child == 0:
        heard.clear()
        changes.note(change("child"))
        changes.close()
        os._exit(0 if heard == ["child"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    changes.close()
    assert heard == ["parent"]
