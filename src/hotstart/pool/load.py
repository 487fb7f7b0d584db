"""One load in its own thread, its outcome, and the back-off after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.concurrency import active_work
from hotstart.errors import HotstartError, LoadFailed, LoadTimeout, NotReady
from hotstart.pool.promotion import Slot
from hotstart.types import Progress, Stage, State

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
"""Seconds between a failed load and the next try, doubled with each failure in a row."""


class Backoff:
    """The failures of one instance, and the time of the next attempt.

    Attributes:
        failure: the last failure.
        count: number of all failures.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._in_row = 0
        self._retry_at = 0.0
        self.failure: HotstartError | None = None
        self.count = 0

    def note(self, error: BaseException, now: float) -> HotstartError:
        """Record `error` at time `now`; return the LoadFailed that callers get."""
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
        """Record a successful load, which resets the back-off."""
        self._in_row = 0

    def waive(self) -> None:
        """Allow the next load at once, without waiting for the back-off."""
        self._retry_at = 0.0

    def is_over(self, now: float) -> bool:
        """Return whether the next load may start."""
        return now >= self._retry_at


T = TypeVar("T")


class LoadAttempt(Generic[T]):
    """One load in its own thread; it ends once: with a slot, an error, or at its time limit.

    Args:
        name: name of the model, for messages and the thread.
        stage: the stage to load.
        load: loads the stage and reports its progress.
        close: frees a model that is loaded after the time limit.
        timeout: seconds after which the load fails; None for no limit.

    Attributes:
        began: when the load began, by the clock `time.monotonic`.
        doing: current step of the load.
        fraction: progress of the load, 0 to 1.
        error: why the load failed; None if it did not.
    """

    def __init__(
        self,
        name: str,
        stage: Stage,
        *,
        load: Callable[[Stage, Progress], T],
        close: Callable[[T], None],
        timeout: float | None,
    ) -> None:
        self.began = time.monotonic()
        self.doing = "starting"
        self.fraction = 0.0
        self._slot: Slot[T] | None = None
        self.error: BaseException | None = None
        self._name = name
        self._stage = stage
        self._load = load
        self._close = close
        self._timeout = timeout
        self._lock = threading.Lock()
        self._is_over = False
        self._ended = threading.Event()
        self._timer: threading.Timer | None = None
        self._on_end: Callable[[LoadAttempt[T]], None] | None = None

    def start(self, on_end: Callable[[LoadAttempt[T]], None] | None = None) -> None:
        """Start the load and return at once; `on_end` is called with this attempt when it ends."""
        self._on_end = on_end
        name = f"hotstart-load-{self._name}"
        try:
            if self._timeout is not None:
                self._timer = threading.Timer(self._timeout, self._give_up)
                self._timer.daemon = True
                self._timer.start()
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError as error:  # the system cannot start another thread
            self._end(error=error)

    def result(self) -> Slot[T]:
        """Wait for the end and return the slot.

        Raises:
            LoadTimeout: the load took longer than its time limit.
            HotstartError: the load failed, with the reason in the message.
        """
        self._ended.wait()
        error = self.error
        if error is None:
            return self.take()
        if isinstance(error, HotstartError):
            raise error
        raise LoadFailed(self._name, error=error, retry_in=0.0) from error

    def take(self) -> Slot[T]:
        """Return the slot of a successful load and drop the reference."""
        slot, self._slot = self._slot, None
        assert slot is not None
        return slot

    def not_ready(self, state: State, expected: float | None) -> NotReady:
        """Return a NotReady error; `expected` is the duration of the last load."""
        elapsed = time.monotonic() - self.began
        return NotReady(
            self._name, state=state, stage=self.doing, elapsed=elapsed, expected=expected
        )

    def _run(self) -> None:
        with active_work:
            try:
                model = self._load(self._stage, self._report)
            except BaseException as error:  # noqa: BLE001 - every waiter must get it
                self._end(error=error)
                return
            slot = Slot(model, self._stage, time.monotonic() - self.began)
            if not self._end(slot=slot):  # the time limit passed: the callers have their error
                self._close(model)

    def _give_up(self) -> None:
        assert self._timeout is not None
        self._end(error=LoadTimeout(self._name, stage=self.doing, after=self._timeout))

    def _end(self, *, slot: Slot[T] | None = None, error: BaseException | None = None) -> bool:
        """End the attempt with this outcome; return false if it has already ended."""
        with self._lock:
            if self._is_over:
                return False
            self._is_over = True
            self._slot = slot
            self.error = error
        if self._timer:
            self._timer.cancel()
        self._ended.set()
        if self._on_end:
            self._on_end(self)
        return True

    def _report(self, stage: str, fraction: float) -> None:
        self.doing = stage
        self.fraction = fraction
