"""How long a caller still waits."""

from __future__ import annotations

import time


class Deadline:
    """The end of `timeout` seconds that begin now; None never ends."""

    def __init__(self, timeout: float | None) -> None:
        self.seconds = timeout
        self._end = None if timeout is None else time.monotonic() + timeout

    @property
    def left(self) -> float | None:
        """Seconds left, never below 0; None for no end."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.left == 0.0
