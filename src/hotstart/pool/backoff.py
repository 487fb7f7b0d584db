"""What is kept of failed loads: the reason, and when the next try is due. No clock, no thread."""

from __future__ import annotations

from hotstart.errors import HotstartError, LoadFailed

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Seconds between a failed load and the next try, doubled with each failure in a row."""


class Backoff:
    """The failures of one instance.

    Attributes:
        failure: the last one.
        count: how many there were in all.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._in_row = 0
        self._retry_at = 0.0
        self.failure: HotstartError | None = None
        self.count = 0

    def note(self, error: BaseException, now: float) -> HotstartError:
        """Keep `error`, which came at `now`, and return it as the waiters are told of it."""
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**self._in_row)
        self._in_row += 1
        self.count += 1
        self._retry_at = now + delay
        if isinstance(error, HotstartError):
            self.failure = error
        else:
            self.failure = LoadFailed(self._name, error=error, retry_in=delay)
            self.failure.__cause__ = error
        return self.failure

    def end(self) -> None:
        """Note that a load ended well: the next failure is the first in a row."""
        self._in_row = 0

    def waive(self) -> None:
        """Let the next load be tried at once: somebody mended the cause, or wants to see."""
        self._retry_at = 0.0

    def is_over(self, now: float) -> bool:
        """Return whether a load may be tried again."""
        return now >= self._retry_at
