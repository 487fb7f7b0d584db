from __future__ import annotations

import threading
from typing import Any

import pytest

from hotstart.registry.events import Change, Changes


def change(name: str) -> Change:
    entry: Any = None
    return Change(name, "1", "ready", "", entry, 0.0)


def test_changes_come_in_order_by_one_thread_of_their_own() -> None:
    changes, heard = Changes(), list[tuple[str, str]]()
    changes.listen(Change, lambda c: heard.append((c.name, threading.current_thread().name)))
    for number in range(100):
        changes.note(change(str(number)))
    changes.close()
    assert heard == [(str(number), "hotstart-changes") for number in range(100)]


def test_a_callback_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    changes, heard = Changes(), list[str]()

    def fail(_: Change) -> None:
        raise RuntimeError("mine")

    changes.listen(Change, fail)
    changes.listen(Change, lambda c: heard.append(c.name))
    changes.note(change("a"))
    changes.note(change("b"))
    changes.close()
    assert heard == ["a", "b"]
    assert "A callback failed on a change of a" in caplog.text


def test_without_a_listener_there_is_no_thread_and_nothing_is_kept() -> None:
    others = set(threading.enumerate())
    changes, heard = Changes(), list[str]()
    changes.note(change("early"))
    assert set(threading.enumerate()) <= others
    changes.listen(Change, lambda c: heard.append(c.name))
    changes.note(change("later"))
    changes.close()
    assert heard == ["later"]
