"""State changes and load steps, delivered in order by one thread."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from hotstart.concurrency import reset_after_fork
from hotstart.registry.model import RegisteredModelInfo
from hotstart.registry.version import ModelStatus

logger = logging.getLogger(__name__)


class StateChange(NamedTuple):
    """A state that a model entered.

    Attributes:
        name: name of the model.
        version: label of the version.
        status: new status of the version.
        reason: reason of the status.
        info: status of the whole model.
        at: time in seconds since the epoch.
    """

    name: str
    version: str
    status: ModelStatus
    reason: str
    info: RegisteredModelInfo
    at: float


class LoadStep(NamedTuple):
    """A step of a load.

    Attributes:
        name: name of the model.
        version: label of the version.
        stage: current step of the load.
        fraction: progress of the load, 0 to 1.
        at: time in seconds since the epoch.
    """

    name: str
    version: str
    stage: str
    fraction: float
    at: float


Event = StateChange | LoadStep


class ChangeEvents:
    """Delivers events to listeners in one thread, started with the first event that has one.

    A callback may call the registry and may be slow: it delays other events, not the models.
    A forked child keeps the listeners, and delivers its own events in a thread of its own.
    """

    def __init__(self) -> None:
        self._callbacks: dict[type[Event], list[Callable[[Any], object]]] = {}
        self._closed = False
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: the parent delivers the queued events."""
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def listen(self, what: type[Event], callback: Callable[[Any], object]) -> None:
        """Call `callback` with each later event of that type."""
        with self._lock:
            self._callbacks.setdefault(what, []).append(callback)

    def note(self, event: Event) -> None:
        """Queue `event` for the listeners, if there are any; return at once."""
        if type(event) not in self._callbacks:
            return
        with self._lock:
            if self._closed:
                return
            self._queue.put(event)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._deliver, name="hotstart-changes", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Deliver the queued events and stop the thread. Later events are dropped."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            for callback in list(self._callbacks[type(event)]):
                try:
                    callback(event)
                except Exception:
                    logger.exception("A callback failed on a change of %s", event.name)
