"""The end of a model that nobody uses: `keep_alive`, counted from the end of the last use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class IdleClock:
    """Calls `unload_if_idle(why)` once `seconds` have passed since the last `touch`.

    One timer at a time, however often it is touched: a timer that finds a later touch is set
    again for what is left.
    """

    def __init__(self, seconds: float, unload_if_idle: Callable[[str], object]) -> None:
        self._seconds = seconds
        self._unload_if_idle = unload_if_idle
        self._lock = threading.Lock()
        self._touched = 0.0
        self._running = False
        self._stopped = False

    def stop(self) -> None:
        """Call nothing any more."""
        with self._lock:
            self._stopped = True

    def touch(self) -> None:
        """Note that a use has ended."""
        with self._lock:
            self._touched = time.monotonic()
            if not self._running:
                self._running = True
                self._set(self._seconds)

    def _look(self) -> None:
        with self._lock:
            left = self._touched + self._seconds - time.monotonic()
            self._running = left > 0
            if self._running:
                self._set(left)
            if self._running or self._stopped:
                return
        self._unload_if_idle(f"not used for {self._seconds:g} s")

    def _set(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.daemon = True
        timer.start()
