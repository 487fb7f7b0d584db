"""A circuit breaker: who fails again and again is left alone for a while, then tried once.

    closed ──`threshold` failures in a row──▶ open ──after the cool-down──▶ half-open, one trial
       ▲                                       ▲                                │
       └────────────── it succeeded ───────────┼────────────────────────────────┤
                                               └── it failed: twice the cool-down

See M. Nygard, Release It!, chapter "Stability Patterns".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from hotstart.concurrency import ForkLock

CircuitState = Literal["closed", "open", "half-open"]


class Circuit:
    """Whether to try at all. Safe from any thread; waits for nothing.

    Args:
        threshold: failures in a row that open it.
        cooldown: seconds until the first trial.
        longest: seconds the cool-down doubles up to, with each trial that fails.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        threshold: int = 5,
        cooldown: float = 1.0,
        longest: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._first, self._longest = cooldown, longest
        self._clock = clock
        self._lock = ForkLock()
        self._failures = 0
        self._cooldown = cooldown
        self._open_until: float | None = None
        self._trial_until: float | None = None

    @property
    def state(self) -> CircuitState:
        """`closed`: all pass; `open`: none does; `half-open`: one may, or does at this moment."""
        with self._lock:
            if self._open_until is None:
                return "closed"
            return "open" if self._clock() < self._open_until else "half-open"

    def allows(self) -> bool:
        """Return whether to try now. In `half-open` the first who asks gets the one trial.

        A trial whose outcome nobody tells ends by itself after a cool-down.
        """
        with self._lock:
            now = self._clock()
            if self._open_until is None:
                return True
            under_trial = self._trial_until is not None and now < self._trial_until
            if now < self._open_until or under_trial:
                return False
            self._trial_until = now + self._cooldown
            return True

    def retry_in(self) -> float:
        """Return the seconds until a try is allowed, 0 where it is now."""
        with self._lock:
            ends = [end for end in (self._open_until, self._trial_until) if end is not None]
            return max(0.0, max(ends, default=0.0) - self._clock()) if ends else 0.0

    def succeeded(self) -> None:
        """Note a success: it closes."""
        with self._lock:
            self._failures = 0
            self._cooldown = self._first
            self._open_until = self._trial_until = None

    def failed(self) -> None:
        """Note a failure: in a row with others, or as the trial, it opens."""
        with self._lock:
            now = self._clock()
            self._failures += 1
            was_trial = self._open_until is not None and now >= self._open_until
            if was_trial:
                self._cooldown = min(self._longest, 2 * self._cooldown)
            if was_trial or (self._open_until is None and self._failures >= self._threshold):
                self._open_until = now + self._cooldown
                self._trial_until = None
