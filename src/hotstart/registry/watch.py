"""Watch model files and reload what changed.

The only file that imports `watchfiles`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

from hotstart._lazy import require

_SETTLING = 100
"""Milliseconds in which changes are gathered: one write often causes several."""


class Watch:
    """Calls `changed` with the changed paths until it is closed.

    Args:
        changed: called by the watching thread; it must not take long.
    """

    def __init__(self, changed: Callable[[set[str]], object]) -> None:
        self._watchfiles = require("watchfiles", extra="watch")
        self._changed = changed
        self._folders: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def cover(self, paths: Iterable[str]) -> None:
        """Watch the folders of `paths` instead of the previous ones.

        Folders are watched because an atomic write replaces the file.
        """
        folders = frozenset(
            path if os.path.isdir(path) else os.path.dirname(path)
            for path in paths
            if os.path.exists(path) or os.path.isdir(os.path.dirname(path))
        )
        with self._lock:
            if folders != self._folders:
                self._end()
                self._folders = folders
                self._begin()

    def close(self) -> None:
        """Stop watching."""
        with self._lock:
            self._end()
            self._folders = frozenset()

    def _begin(self) -> None:
        if not self._folders:
            return
        self._stop = threading.Event()
        changes = self._watchfiles.watch(
            *sorted(self._folders),
            watch_filter=None,
            debounce=_SETTLING,
            step=_SETTLING // 2,
            stop_event=self._stop,
            raise_interrupt=False,
            recursive=True,
        )
        self._thread = threading.Thread(
            target=self._run, args=(changes,), name="hotstart-watch", daemon=True
        )
        self._thread.start()

    def _end(self) -> None:
        if self._stop and self._thread:
            self._stop.set()
            if self._thread is not threading.current_thread():
                self._thread.join()
        self._stop = self._thread = None

    def _run(self, changes: Iterable[set[tuple[object, str]]]) -> None:
        for batch in changes:
            self._changed({os.path.abspath(path) for _, path in batch})
