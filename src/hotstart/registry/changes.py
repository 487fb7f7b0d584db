"""Changes of state, told to whoever wants to hear of them: in order, by a thread of their own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from hotstart.registry.record import Entry
from hotstart.registry.version import EntryStatus

logger = logging.getLogger(__name__)


class Change(NamedTuple):
    """What a model became.

    Attributes:
        name: of the model.
        version: of it that changed.
        status: what that version is now.
        reason: why.
        entry: the model as a whole.
    """

    name: str
    version: str
    status: EntryStatus
    reason: str
    entry: Entry


class Changes:
    """Hands on changes. The thread begins with the first who listens.

    A callback may call the registry, and may take its time: changes wait for it, models do not.
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Change], object]] = []
        self._waiting: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def listen(self, callback: Callable[[Change], object]) -> None:
        """Have `callback` called with each change from now on."""
        with self._lock:
            self._callbacks.append(callback)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._tell, name="hotstart-changes", daemon=True
                )
                self._thread.start()

    def note(self, change: Change) -> None:
        """Hand on `change`; return at once."""
        if self._callbacks:
            self._waiting.put(change)

    def close(self) -> None:
        """Tell what was noted, and end."""
        thread = self._thread
        if thread is not None:
            self._waiting.put(None)
            if thread is not threading.current_thread():
                thread.join()

    def _tell(self) -> None:
        while (change := self._waiting.get()) is not None:
            for callback in list(self._callbacks):
                try:
                    callback(change)
                except Exception:
                    logger.exception("A callback failed on a change of %s", change.name)
