"""How long a caller still waits."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.concurrency import Deadline
from hotstart.errors import InvalidInput
from hotstart.pool.pool import Pool


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


@pytest.mark.parametrize("timeout", [math.inf, 1e300, threading.TIMEOUT_MAX])
def test_more_than_a_lock_can_wait_is_the_longest_wait(timeout: float) -> None:
    left = Deadline(timeout).left
    assert left is not None
    assert threading.Lock().acquire(timeout=left)


@pytest.mark.parametrize("timeout", ["1", math.nan, [], 1j])
def test_what_is_no_number_of_seconds_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidInput, match="timeout must be a number of seconds or None, got"):
        Deadline(timeout)


@pytest.mark.parametrize("timeout", [math.inf, 1e10, np.float32(60)])
def test_calls_take_any_number_of_seconds(timeout: float) -> None:
    embedder = Embedder("fake:name=deadline", pool=Pool())
    assert embedder.encode("a", timeout=timeout).shape
    assert asyncio.run(embedder.aencode("b", timeout=timeout)).shape
    assert embedder.wait_ready(timeout)
    embedder.unload()
    assert asyncio.run(embedder.await_ready(timeout))


def test_none_never_ends() -> None:
    deadline = Deadline(None)
    assert deadline.left is None
    assert not deadline.is_over
    assert Deadline(0).is_over
