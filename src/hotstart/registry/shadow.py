"""Shadow traffic: repeat calls on another version and compare the answers.

One thread repeats calls from a short queue. Further calls are dropped and counted, so that a shadow
neither delays answers nor accumulates memory.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, NamedTuple

from hotstart.concurrency import IdleThreads, reset_after_fork
from hotstart.errors import NotReady
from hotstart.registry.binding import difference
from hotstart.registry.version import Version

logger = logging.getLogger(__name__)

MOST_WAITING = 64
_IDLE = 5.0  # seconds without work after which the thread ends


class ShadowCall(NamedTuple):
    """A call to repeat on `version`, and the answer to compare with."""

    version: Version
    inputs: Any
    answer: Any


class ShadowTraffic:
    """Repeats calls on shadow versions in one thread."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the thread exists in the parent only."""
        self._threads = IdleThreads("hotstart-shadow", 1, _IDLE)
        self._changed = self._threads.changed
        self._waiting: deque[ShadowCall] = deque()
        self._is_repeating = False

    def send(self, version: Version, inputs: Any, answer: Any) -> None:
        """Repeat a call on `version` in the background; return at once."""
        with self._changed:
            if len(self._waiting) == MOST_WAITING:
                version.metrics.tally.add("shadow dropped")
                return
            try:
                self._threads.wake(self._repeat)
            except RuntimeError:  # the system cannot start a thread
                version.metrics.tally.add("shadow dropped")
                return
            self._waiting.append(ShadowCall(version, inputs, answer))

    def settle(self) -> None:
        """Wait until every queued call was repeated."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._is_repeating)

    def _repeat(self) -> None:
        while True:
            with self._changed:
                self._is_repeating = False
                self._changed.notify_all()
                if not self._threads.wait_for_work(lambda: self._waiting):
                    return
                call = self._waiting.popleft()
                self._is_repeating = True
            _compare(call)


def _compare(call: ShadowCall) -> None:
    version = call.version
    inputs = call.inputs
    answer = call.answer
    try:
        repeated = version.repeat(inputs)
    except NotReady:
        version.start()
    except Exception as error:  # noqa: BLE001 - the caller has its answer already
        logger.info("The shadow %s of %s failed: %s", version.label, version.name, error)
    else:
        version.metrics.differences.observe(difference(repeated, answer))
