"""Shadow traffic: repeat calls on another version and compare the answers.

One thread repeats, and few calls wait for it: what is too much is dropped and counted, so that a
shadow neither delays an answer nor gathers memory.
"""

from __future__ import annotations

import logging
import os
import threading
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

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
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: Queue[ShadowCall] = Queue(MOST_WAITING)
        self._running = False

    def send(self, version: Version, inputs: Any, answer: Any) -> None:
        """Repeat a call on `version` in the background; return at once."""
        if self._process != os.getpid():
            self._begin_anew()
        try:
            self._waiting.put_nowait(ShadowCall(version, inputs, answer))
        except Full:
            version.metrics.tally.add("shadow dropped")
            return
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(target=self._repeat, name="hotstart-shadow", daemon=True).start()

    def settle(self) -> None:
        """Wait until every queued call was repeated."""
        self._waiting.join()

    def _repeat(self) -> None:
        while True:
            try:
                repetition = self._waiting.get(timeout=_IDLE)
            except Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._running = False
                        return
                continue
            try:
                _compare(repetition)
            finally:
                self._waiting.task_done()


def _compare(repetition: ShadowCall) -> None:
    version, inputs, answer = repetition
    try:
        repeated = version.repeat(inputs)
    except NotReady:
        version.start()
    except Exception as error:  # noqa: BLE001 - the caller has its answer already
        logger.info("The shadow %s of %s failed: %s", version.label, version.name, error)
    else:
        version.metrics.differences.observe(difference(repeated, answer))
