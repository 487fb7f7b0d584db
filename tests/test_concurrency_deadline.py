"""How long a caller still waits."""

from __future__ import annotations

import time

from hotstart.concurrency import Deadline


def test_it_runs_down_to_nothing_and_stays_there() -> None:
    deadline = Deadline(0.05)
    assert deadline.seconds == 0.05
    first = deadline.left
    assert first is not None
    assert 0 < first <= 0.05
    assert not deadline.is_over
    time.sleep(0.06)
    assert deadline.left == 0
    assert deadline.is_over


def test_none_never_ends() -> None:
    deadline = Deadline(None)
    assert deadline.left is None
    assert not deadline.is_over
    assert Deadline(0).is_over
