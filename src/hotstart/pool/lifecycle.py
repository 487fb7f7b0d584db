"""The states of one model, and how it goes from each to the next: the only writer of its state.

    unloaded ──load──▶ loading ──▶ ready ──unload──▶ unloading ──▶ unloaded
                          └──────▶ failed ──asked again after the back-off──▶ loading

A reload and a promotion leave it ready: each loads beside what serves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.errors import NotReady
from hotstart.pool.backoff import Backoff
from hotstart.pool.hearers import Hearers
from hotstart.pool.idleness import IdleClock
from hotstart.pool.load import Attempt
from hotstart.pool.promotion import Load, Slot
from hotstart.pool.serving import Serving
from hotstart.system import keep_for_ever
from hotstart.types import Progress, Stage, State

T = TypeVar("T")


class Lifecycle(Generic[T]):
    """What an instance stands on. Methods with an underscore need its lock `_changed` held,
    but for `_end_unloading`, `_begin_reload` and `_end_reload`, which take it.
    """

    def __init__(
        self,
        name: str,
        load: Load[T],
        close: Callable[[T], None],
        stages: tuple[Stage, ...] = ("full",),
        load_timeout: float | None = None,
        keep_alive: float | None = None,
        patience: int = 0,
    ) -> None:
        self.name = name
        self._load = load
        self._close = close
        self._stages = stages
        self._load_timeout = load_timeout
        self._keep_alive, self._patience = keep_alive, patience
        self._hearers = Hearers()
        self._loads = 0
        self._load_time: float | None = None
        self._begin_anew()

    def forget(self) -> None:
        """Begin anew from `unloaded`, as a forked child must: its threads and locks stayed behind.

        The parent's model is never freed in the child, not even at its end: that would be to wait
        for threads that the child does not have. Its pages are shared with the parent.
        """
        keep_for_ever(self._serving)
        self._begin_anew()
        self._hearers.tell_state(self._state, self._reason)

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._state: State = "unloaded"
        self._reason = "not asked for yet"
        self._reloading = False
        self._used_at = time.monotonic()
        self._attempt: Attempt[T] | None = None
        self._backoff = Backoff(self.name)
        what = (self._stages, self._patience, self._load, self._close)
        self._serving = Serving(self._changed, *what)
        self._idle_clock = self._clock()

    def _clock(self) -> IdleClock | None:
        seconds = self._keep_alive
        return None if seconds is None else IdleClock(seconds, self.unload_if_idle)

    @property
    def state(self) -> State:
        """The state at this moment."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether something is being loaded at this moment, a promotion included."""
        return self._state == "loading" or self._serving.promoter.running

    def touch(self) -> None:
        """Note a use that was no lease."""
        self._used_at = time.monotonic()
        if self._idle_clock:
            self._idle_clock.touch()

    def keep_alive(self, seconds: float | None) -> None:
        """Have it unloaded so long after the end of its last use; None: never for want of use."""
        if seconds == self._keep_alive:
            return
        with self._changed:
            if self._idle_clock:
                self._idle_clock.stop()
            self._keep_alive = seconds
            self._idle_clock = self._clock()
        self.touch()

    def not_ready(self) -> NotReady:
        """Return the error that says how far the load is."""
        attempt = self._attempt
        if attempt is not None:
            return attempt.not_ready(self._state, self._load_time)
        return NotReady(self.name, state=self._state, stage="-", elapsed=0.0, expected=None)

    def unload_if_idle(self, why: str) -> bool:
        """Unload the model if no call is using it; return whether it was."""
        with self._changed:
            used = self._serving.slot is None or self._serving.slot.users > 0
            slot = None if used or not self._at_rest else self._begin_unloading(why)
        self._end_unloading(slot)
        return slot is not None

    def _wait_ready(self, timeout: float | None) -> None:
        """Wait, the condition held, until there is a model or the reason why there is none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._start_if_due()
        failed_before = self._backoff.count
        while self._state != "ready":
            failure = self._backoff.failure
            if failure and (self._state == "failed" or self._backoff.count > failed_before):
                raise failure.again() from failure.__cause__
            if self._state == "unloaded":  # by an unload that ended while this call waited
                self._start_if_due()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self.not_ready()
            self._changed.wait(left)

    def _start_if_due(self) -> None:
        retried = self._state == "failed" and self._backoff.is_over(time.monotonic())
        if self._state == "unloaded" or retried:
            self._attempt = Attempt(
                self.name,
                self._stages[0],
                timeout=self._load_timeout,
                load=self._load_heard,
                loaded=self._admit,
                failed=self._fail,
                discard=self._close,
            )
            self._enter("loading", "asked for")
            self._attempt.start()

    def _load_heard(self, stage: Stage, report: Progress) -> T:
        def tell(doing: str, fraction: float) -> None:
            report(doing, fraction)
            self._hearers.tell(doing, fraction)

        return self._load(stage, tell, None)

    def _admit(self, slot: Slot[T]) -> None:
        with self._changed:
            self._backoff.end()
            self._loads += 1
            self._load_time = slot.seconds
            self._serving.begin(slot)
            self._enter("ready", f"loaded in {slot.seconds:.3f} s")
        self.touch()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._enter("failed", self._backoff.note(error, time.monotonic()).facts)

    def _enter(self, state: State, reason: str) -> None:
        self._state, self._reason = state, reason
        self._changed.notify_all()
        self._hearers.tell_state(state, reason)
        if state in {"ready", "failed", "unloaded"}:
            self._hearers.tell_end()

    def _begin_unloading(self, reason: str) -> Slot[T] | None:
        if self._state != "ready":
            return None
        self._enter("unloading", reason)
        return self._serving.end()

    def _end_unloading(self, slot: Slot[T] | None) -> None:
        if slot is None:
            return
        try:
            self._serving.close(slot)
        finally:
            with self._changed:
                self._enter("unloaded", self._reason)

    def _begin_reload(self) -> Slot[T] | None:
        """What a reload will replace; None where there was nothing, and all was loaded anew."""
        with self._changed:
            self._changed.wait_for(lambda: self._at_rest and not self._serving.promoter.running)
            if self._state != "ready":
                self._backoff.waive()
                self._wait_ready(None)
                return None
            self._reloading = True
            return self._serving.pause_promotions()

    def _end_reload(self, old: Slot[T], new: Slot[T], reason: str) -> None:
        with self._changed:
            self._reloading = False
            if new is not old:
                self._loads += 1
                self._load_time = new.seconds
                self._serving.succeed(new)
            self._enter("ready", reason)
            self._serving.resume_promotions()
        if new is not old:
            self._serving.retire(old)

    @property
    def _at_rest(self) -> bool:
        return self._state not in {"loading", "unloading"} and not self._reloading
