"""One load in its own thread, its outcome, and the back-off after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.errors import HotstartError, LoadFailed, LoadTimeout, NotReady
from hotstart.pool.promotion import Slot
from hotstart.types import Progress, Stage, State

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Seconds between a failed load and the next try, doubled with each failure in a row."""


class Backoff:
    """The failures of one instance, and when the next attempt is due.

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
        """Allow the next load at once, without waiting for the back-off."""
        self._retry_at = 0.0

    def is_over(self, now: float) -> bool:
        """Return whether a load may be tried again."""
        return now >= self._retry_at


T = TypeVar("T")


class LoadAttempt(Generic[T]):
    """One load in its own thread; it ends once. `doing` and `fraction` tell how far it is."""

    def __init__(
        self,
        name: str,
        stage: Stage,
        *,
        timeout: float | None,
        load: Callable[[Stage, Progress], T],
        loaded: Callable[[Slot[T]], None],
        failed: Callable[[BaseException], None],
        discard: Callable[[T], None],
    ) -> None:
        self.began = time.monotonic()
        self.doing, self.fraction = "starting", 0.0
        self._name, self._stage, self._timeout = name, stage, timeout
        self._load, self._loaded, self._failed, self._discard = load, loaded, failed, discard
        self._lock = threading.Lock()
        self._over = False
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """Begin, and return at once."""
        if self._timeout is not None:
            self._timer = threading.Timer(self._timeout, self._give_up)
            self._timer.daemon = True
            self._timer.start()
        name = f"hotstart-load-{self._name}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def not_ready(self, state: State, expected: float | None) -> NotReady:
        """Return the error that says how far it is; `expected` is what the last load took."""
        elapsed = time.monotonic() - self.began
        return NotReady(
            self._name, state=state, stage=self.doing, elapsed=elapsed, expected=expected
        )

    def _run(self) -> None:
        try:
            model = self._load(self._stage, self._report)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiters must be told
            if self._end():
                self._failed(error)
            return
        if self._end():
            self._loaded(Slot(model, self._stage, time.monotonic() - self.began))
        else:  # it was given up: whoever waited has been told, and may have had it loaded again
            self._discard(model)

    def _give_up(self) -> None:
        if self._end():
            assert self._timeout is not None
            self._failed(LoadTimeout(self._name, stage=self.doing, after=self._timeout))

    def _end(self) -> bool:
        """Return whether this call ends the attempt."""
        with self._lock:
            first, self._over = not self._over, True
        if first and self._timer:
            self._timer.cancel()
        return first

    def _report(self, stage: str, fraction: float) -> None:
        self.doing, self.fraction = stage, fraction


def load_apart(
    name: str,
    stage: Stage,
    *,
    timeout: float | None,
    load: Callable[[Stage, Progress], T],
    discard: Callable[[T], None],
) -> Slot[T]:
    """Load in a thread of its own and return the outcome.

    Raises:
        LoadTimeout: it took longer than `timeout` seconds; what still comes of it is discarded.
        HotstartError: it failed, for the reason it states.
    """
    from concurrent.futures import Future  # only a reload needs it

    outcome: Future[Slot[T]] = Future()
    LoadAttempt(
        *(name, stage),
        timeout=timeout,
        load=load,
        loaded=outcome.set_result,
        failed=outcome.set_exception,
        discard=discard,
    ).start()
    try:
        return outcome.result()
    except HotstartError:
        raise
    except Exception as error:
        raise LoadFailed(name, error=error, retry_in=0.0) from error
