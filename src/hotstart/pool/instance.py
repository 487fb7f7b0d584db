"""One loaded model and its state; the only writer of that state.

    unloaded ──load──▶ loading ──▶ ready ──unload──▶ unloading ──▶ unloaded
                          └──────▶ failed ──asked again after the back-off──▶ loading

However many threads ask, one load runs. A caller that stops waiting stops nothing: the load runs in
a thread of its own and ends for those who still wait and for those who come later.

A call holds the slot it began with: a promotion swaps in another one for the calls to come, and the
old one is closed when the last of its calls has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from hotstart.errors import HotstartError, NotReady
from hotstart.pool.attempt import Attempt
from hotstart.pool.backoff import Backoff
from hotstart.pool.hearers import Hearers
from hotstart.pool.idleness import IdleClock
from hotstart.pool.promotion import Load, Slot
from hotstart.pool.serving import Serving
from hotstart.pool.status import Status
from hotstart.resources import keep_for_ever
from hotstart.types import Progress, Stage, State

T = TypeVar("T")


class Instance(Generic[T]):
    """The model `name`, loaded by `load` and given back by `close`. Safe from any thread.

    Args:
        load: loads each of `stages`; a promotion is given the model that serves meanwhile.
        load_timeout: seconds after which a load has failed; None lets it take what it takes.
        keep_alive: seconds after the end of the last use at which the model is unloaded.
        patience: texts embedded before the first promotion.
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

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._state: State = "unloaded"
        self._reason = "not asked for yet"
        self._attempt: Attempt[T] | None = None
        self._backoff = Backoff(self.name)
        what = (self._stages, self._patience, self._load, self._close)
        self._serving = Serving(self._changed, *what)
        self._idle_clock = (
            None if self._keep_alive is None else IdleClock(self._keep_alive, self.unload_if_idle)
        )

    @property
    def state(self) -> State:
        """The state at this moment."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether something is being loaded at this moment, a promotion included."""
        return self._state == "loading" or self._serving.promoter.running

    @property
    def failure(self) -> HotstartError | None:
        """Why the last load failed, None unless the state is `failed`."""
        return self._backoff.failure if self._state == "failed" else None

    def peek(self) -> T | None:
        """Return the model if it is loaded at this moment; never waits, starts nothing."""
        slot = self._serving.slot
        return slot.model if slot is not None and self._state == "ready" else None

    def status(self) -> Status:
        """Return a consistent account of this moment."""
        with self._changed:
            slot, attempt = self._serving.slot, self._attempt
            loading = attempt if self._state == "loading" else None
            doing = attempt.doing if attempt else "-"
            return Status(
                state=self._state,
                reason=self._reason,
                stage=slot.stage if slot else doing,
                fraction=loading.fraction if loading else None,
                elapsed=time.monotonic() - loading.began if loading else None,
                load_time=self._load_time,
                stages=dict(self._serving.stage_times),
                refused={**self._serving.promoter.refused},
                loads=self._loads,
                in_use=slot.users if slot else 0,
            )

    def not_ready(self) -> NotReady:
        """Return the error that says how far the load is."""
        attempt = self._attempt
        return NotReady(
            self.name,
            state=self._state,
            stage=attempt.doing if attempt else "-",
            elapsed=time.monotonic() - attempt.began if attempt else 0.0,
            expected=self._load_time,
        )

    def start(self) -> None:
        """Have the model loaded; return at once. Does nothing where it is loaded or loading."""
        with self._changed:
            self._start_if_due()

    def wait(self, timeout: float | None = None) -> bool:
        """Start the load if need be and return whether the model is ready within `timeout` s.

        Raises:
            HotstartError: the load failed, for the reason it states.
        """
        try:
            with self._changed:
                self._wait_ready(timeout)
            return True
        except NotReady:
            return False

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, by whatever thread, at the end of the load under way, if any."""
        with self._changed:
            if self._state in {"loading", "unloading"}:
                self._hearers.await_end(callback)
                return
        callback()

    @contextmanager
    def lease(self, timeout: float | None = None, texts: int = 1) -> Iterator[T]:
        """Yield the loaded model, loading it if need be; it is not unloaded while it is leased.

        Args:
            timeout: seconds to wait for the model; None waits as long as the load takes.
            texts: how much it will be used for; what decides whether a faster engine pays.

        Raises:
            NotReady: it was not ready in time. The load goes on.
            HotstartError: the load failed, for the reason it states.
        """
        with self._changed:
            self._wait_ready(timeout)
            slot = self._serving.take(texts)
        try:
            yield slot.model
        finally:
            with self._changed:
                self._serving.give_back(slot)
            if self._idle_clock:
                self._idle_clock.touch()

    def listen(self, on_progress: Progress) -> None:
        """Have `on_progress` called with stage and fraction, by the thread that loads."""
        self._hearers.listen(on_progress)

    def promote(self, stage: Stage) -> None:
        """Have the model promoted to `stage` beside its work; return at once."""
        with self._changed:
            self._start_if_due()
            self._serving.promote(stage)

    def settle(self, timeout: float) -> float:
        """Wait up to `timeout` seconds for loads under way to end; return the seconds left."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: not self.busy, max(0.0, timeout))
        return deadline - time.monotonic()

    def unload(self) -> None:
        """Give the model's memory back, after a load under way and the calls in flight have ended;
        a call that comes meanwhile has it loaded again."""
        with self._changed:
            self._changed.wait_for(lambda: self._state not in {"loading", "unloading"})
            slot = self._begin_unloading("unload was asked for")
        self._end_unloading(slot)

    def unload_if_idle(self, seconds: float) -> None:
        """Unload the model if no call is using it."""
        with self._changed:
            used = self._serving.slot is None or self._serving.slot.users > 0
            slot = None if used else self._begin_unloading(f"not used for {seconds:g} s")
        self._end_unloading(slot)

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
            self._enter("ready", f"loaded in {slot.seconds:.3f} s")
            self._serving.begin(slot)
        if self._idle_clock:
            self._idle_clock.touch()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._enter("failed", self._backoff.note(error, time.monotonic()).facts)

    def _enter(self, state: State, reason: str) -> None:
        self._state, self._reason = state, reason
        self._changed.notify_all()
        if state in {"ready", "failed", "unloaded"}:
            self._hearers.tell_end()
