"""One loaded model: its state machine, leases, reload, keep-alive.

    unloaded ──load──▶ loading ──▶ ready ──unload──▶ unloading ──▶ unloaded
                          └──────▶ failed ──called again after the back-off──▶ loading

A reload and a promotion keep the state `ready`: each loads beside the slot that serves.

However many threads call, one load runs, in its own thread. A caller that stops waiting does not
stop it.

A call keeps the slot it began with. A promotion or reload swaps in another slot for later calls;
the old slot is closed when its last call has ended.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from hotstart.concurrency import Condition, Deadline, active_work
from hotstart.errors import HotstartError, NotReady
from hotstart.pool.load import Backoff, LoadAttempt
from hotstart.pool.promotion import ActiveSlot, Load, Slot
from hotstart.system import keep_for_ever
from hotstart.telemetry import INFO, WARNING, log
from hotstart.types import Progress, Stage, State

OnState = Callable[[State, str], None]
"""Called with a state that was entered, and why; under the instance's lock, so only to note it."""


class Listeners:
    """The callbacks of one instance. A failing callback affects neither the load nor others."""

    def __init__(self) -> None:
        self._progress: list[Progress] = []
        self._settled: list[Callable[[], None]] = []
        self._states: list[OnState] = []

    def listen(self, on_progress: Progress) -> None:
        """Call `on_progress` with each step of each load, in the loading thread."""
        self._progress.append(on_progress)

    def listen_states(self, on_state: OnState) -> None:
        """Call `on_state` with each new state, under the lock."""
        self._states.append(on_state)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, at the end of the running load."""
        self._settled.append(callback)

    def notify_progress(self, stage: str, fraction: float) -> None:
        """Report a step of a load."""
        for on_progress in self._progress:
            try:
                on_progress(stage, fraction)
            except Exception:
                import logging

                logging.getLogger(__name__).exception("A progress callback failed at %s", stage)

    def notify_state(self, state: State, reason: str) -> None:
        """Report a new state."""
        for on_state in self._states:
            on_state(state, reason)

    def notify_end(self) -> None:
        """Report the end of the running load."""
        callbacks, self._settled = self._settled, []
        for callback in callbacks:
            with contextlib.suppress(RuntimeError):  # its event loop was closed
                callback()


class KeepAliveTimer:
    """Calls `unload_if_idle(why)` once no `touch` came for `seconds`.

    One thread waits while the model may be unloaded, however often `touch` and `set` are called.
    """

    def __init__(self, seconds: float | None, unload_if_idle: Callable[[str], object]) -> None:
        self._seconds = seconds
        self._unload_if_idle = unload_if_idle
        self._changed = Condition(threading.Lock())
        self._touched = 0.0
        self._runs = False

    def set(self, seconds: float | None) -> None:
        """Unload after `seconds` from now on; None for never."""
        with self._changed:
            self._seconds = seconds
            self._changed.notify()
        self.touch()

    def touch(self) -> None:
        """Record the end of a use."""
        if self._seconds is None:
            return
        with self._changed:
            self._touched = time.monotonic()
            if self._runs:
                return
            try:
                threading.Thread(target=self._run, name="hotstart-keep-alive", daemon=True).start()
            except RuntimeError:  # no thread can be started; a later touch tries again
                return
            self._runs = True

    def _run(self) -> None:
        with self._changed:
            while self._seconds is not None:
                left = self._touched + self._seconds - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            seconds = self._seconds
            self._runs = False
        if seconds is not None:
            self._unload_if_idle(f"not used for {seconds:g} s")


class Status(NamedTuple):
    """The state of an instance at one moment.

    Attributes:
        reason: the reason of the state, for people.
        stage: the serving stage or, during a load, its current step.
        fraction: progress of the load, 0 to 1; None if none runs.
        elapsed: seconds since the load began; None if none runs.
        load_time: seconds of the last successful load; None before the first.
        stages: load time of each reached stage in seconds, in order.
        refused: stages that could not be reached, with the reason.
        loads: number of successful loads without promotions.
        in_use: number of calls that use the model now.
        strategy: name of the strategy, and why `auto` chose it.
        runtime: what runs the graph, such as `ONNX Runtime 1.32.0`, and why it is the package
            where the library cannot be used; empty while nothing serves, and for other engines.
    """

    state: State
    reason: str
    stage: str
    fraction: float | None
    elapsed: float | None
    load_time: float | None
    stages: dict[str, float]
    refused: Mapping[str, str]
    loads: int
    in_use: int
    strategy: str = ""
    runtime: str = ""


T = TypeVar("T")


class Instance(Generic[T]):
    """One loaded model: loaded by `load`, freed by `close`. Thread-safe.

    Args:
        load: loads one of `stages`; for a promotion it gets the serving model.
        load_timeout: seconds after which a load fails; None for no limit.
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
        self._keep_alive = keep_alive
        self._patience = patience
        self._listeners = Listeners()
        self._loads = 0
        self._load_time: float | None = None
        self._reset()

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def busy(self) -> bool:
        """Whether a load or promotion runs."""
        return self._state == "loading" or self._serving.promoting

    def touch(self) -> None:
        """Record a use without a lease."""
        self._used_at = time.monotonic()
        self._keep_alive_timer.touch()

    def keep_alive(self, seconds: float | None) -> None:
        """Unload `seconds` after the end of the last use; None for never."""
        if seconds != self._keep_alive:
            self._keep_alive = seconds
            self._keep_alive_timer.set(seconds)

    def not_ready(self) -> NotReady:
        """Return a NotReady error with the progress of the load."""
        attempt = self._attempt
        if attempt is not None:
            return attempt.not_ready(self._state, self._load_time)
        return NotReady(self.name, state=self._state, stage="-", elapsed=0.0, expected=None)

    def unload_if_idle(self, why: str) -> bool:
        """Unload the model if no call is using it; return whether it was."""
        with self._changed:
            used = self._serving.slot is None or bool(self._serving.slot.calls)
            slot = None if used or not self._is_settled else self._begin_unloading(why)
        self._end_unloading(slot)
        return slot is not None

    @property
    def failure(self) -> HotstartError | None:
        """Why the last load failed, None unless the state is `failed`."""
        return self._backoff.failure if self._state == "failed" else None

    def peek(self) -> T | None:
        """Return the model if it is loaded. Never waits and starts no load."""
        slot = self._serving.slot
        return slot.model if slot is not None and self._state == "ready" else None

    @property
    def last_used(self) -> float:
        """Time of the last load, use or touch, by `time.monotonic`."""
        return self._used_at

    @property
    def in_use(self) -> int:
        """The number of calls that use the model."""
        slot = self._serving.slot
        return len(slot.calls) if slot is not None else 0

    def status(self) -> Status:
        """Return the current status."""
        with self._changed:
            loading = self._attempt if self._state == "loading" else None
            slot = self._serving.slot
            doing = self._attempt.doing if self._attempt else "-"
            return Status(
                state=self._state,
                reason=self._reason,
                stage=slot.stage if slot else doing,
                fraction=loading.fraction if loading else None,
                elapsed=time.monotonic() - loading.began if loading else None,
                load_time=self._load_time,
                stages=dict(self._serving.stage_times),
                refused=dict(self._serving.refused),
                loads=self._loads,
                in_use=len(slot.calls) if slot else 0,
            )

    def start(self) -> None:
        """Start the load unless the model is loaded or loading; return at once."""
        with self._changed:
            self._start_if_due()

    def wait(self, timeout: float | None = None) -> bool:
        """Start the load if needed; return whether the model is ready within `timeout` seconds.

        Raises:
            HotstartError: the load failed, with the reason in the message.
        """
        try:
            with self._changed:
                self._wait_ready(timeout)
            return True
        except NotReady:
            return False

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the end of the running load, from any thread; at once if none runs."""
        with self._changed:
            if self._state in {"loading", "unloading"}:
                self._listeners.on_end(callback)
                return
        callback()

    @contextmanager
    def lease(self, timeout: float | None = None, texts: int = 1) -> Iterator[T]:
        """Yield the loaded model, loading it if needed. A leased model is not unloaded.

        Args:
            timeout: seconds to wait for the model; None for no limit.
            texts: number of texts of the call; promotions depend on their sum.

        Raises:
            NotReady: the model was not ready in time; its load continues.
            HotstartError: the load failed, with the reason in the message.
        """
        taken: list[Slot[T]] = []
        try:
            with self._changed:
                self._wait_ready(timeout)
                slot = self._serving.take(texts, taken)
            with active_work:
                yield slot.model
        finally:
            if taken:
                with self._changed:
                    self._serving.give_back(taken)
                self.touch()

    def listen(self, on_progress: Progress) -> None:
        """Call `on_progress` with each step of each load, in the loading thread."""
        self._listeners.listen(on_progress)

    def listen_states(self, on_state: OnState) -> None:
        """Call `on_state` with each new state, under the lock."""
        with self._changed:
            self._listeners.listen_states(on_state)
            on_state(self._state, self._reason)

    def promote(self, stage: Stage) -> None:
        """Promote the model to `stage` in the background; return at once."""
        with self._changed:
            self._start_if_due()
            self._serving.promote(stage)

    def settle(self, timeout: float) -> float:
        """Wait up to `timeout` seconds for running loads; return the seconds left."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: not self.busy, max(0.0, timeout))
        return deadline - time.monotonic()

    def unload(self, timeout: float | None = None) -> None:
        """Unload the model after the running load and the calls in flight have ended.

        A call that comes meanwhile loads it again, beside the model that is still in use: it may
        belong to a call in flight, which would otherwise wait for itself.

        Args:
            timeout: seconds to wait, None for no limit. A load that runs longer is left alone; a
                call that runs longer keeps its model, which is freed when the call has ended.
        """
        deadline = Deadline(timeout)
        with self._changed:
            if not self._changed.wait_for(lambda: self._is_settled, deadline.left):
                return
            slot = self._begin_unloading("unload() was called")
        self._end_unloading(slot, deadline.left)

    def reload(self) -> None:
        """Load the model again beside the serving one, and swap it in between two calls.

        Calls in flight end on the old model, which is then closed. Load the model if it is not
        loaded. Concurrent reloads run one after the other.

        Raises:
            HotstartError: the load failed; the old model keeps serving.
        """
        old = self._begin_reload()
        if old is None:
            return
        new = old
        reason = "its reload was given up"
        attempt = self._new_attempt()
        try:
            attempt.start()
            new = attempt.result()
            reason = f"reloaded in {new.seconds:.3f} s"
        except HotstartError as error:
            reason = f"the old model still serves, its reload failed: {error.facts}"
            raise
        finally:
            self._end_reload(old, new, reason)

    def reset_after_fork(self) -> None:
        """Reset to `unloaded` in a forked child: its threads and locks exist in the parent only.

        The child never frees the parent's model, not even at exit, because freeing would wait for
        threads that the child does not have. Its pages are shared with the parent.
        """
        keep_for_ever(self._serving)
        self._reset()
        self._listeners.notify_state(self._state, self._reason)

    # The only writers of the state. The caller holds the lock `_changed`, except for
    # `_end_unloading`, `_begin_reload` and `_end_reload`, which acquire it.

    def _reset(self) -> None:
        self._changed = Condition()
        self._state: State = "unloaded"
        self._reason = "not loaded yet"
        self._reloading = False
        self._used_at = time.monotonic()
        self._attempt: LoadAttempt[T] | None = None
        self._backoff = Backoff(self.name)
        self._serving = ActiveSlot(
            self._changed,
            stages=self._stages,
            patience=self._patience,
            load=self._load,
            close=self._close,
        )
        self._keep_alive_timer = KeepAliveTimer(self._keep_alive, self.unload_if_idle)

    def _wait_ready(self, timeout: float | None) -> None:
        """Wait for a model or an error. The caller holds the condition."""
        deadline = Deadline(timeout)
        self._start_if_due()
        failed_before = self._backoff.count
        while self._state != "ready":
            failure = self._backoff.failure
            if failure and (self._state == "failed" or self._backoff.count > failed_before):
                raise failure.again() from failure.__cause__
            self._start_if_due()  # an unload may have begun while this call waited
            if deadline.is_over:
                raise self.not_ready()
            self._changed.wait(deadline.left)

    def _start_if_due(self) -> None:
        retried = self._state == "failed" and self._backoff.is_over(time.monotonic())
        if self._state in {"unloaded", "unloading"} or retried:
            self._attempt = self._new_attempt()
            self._enter("loading", "a load was requested")
            self._attempt.start(self._end_attempt)

    def _new_attempt(self) -> LoadAttempt[T]:
        return LoadAttempt(
            self.name,
            self._stages[0],
            load=self._load_first_stage,
            close=self._close,
            timeout=self._load_timeout,
        )

    def _load_first_stage(self, stage: Stage, report: Progress) -> T:
        def notify(doing: str, fraction: float) -> None:
            report(doing, fraction)
            self._listeners.notify_progress(doing, fraction)

        return self._load(stage, notify, None)

    def _end_attempt(self, attempt: LoadAttempt[T]) -> None:
        """Serve the loaded slot, or record the failure."""
        with self._changed:
            failure = None
            if attempt.error is not None:
                failure = self._backoff.note(attempt.error, time.monotonic())
                self._enter("failed", failure.facts)
            else:
                slot = attempt.take()
                self._backoff.end()
                self._loads += 1
                self._load_time = slot.seconds
                self._serving.begin(slot)
                self._enter("ready", f"loaded in {slot.seconds:.3f} s")
        if failure is not None:
            log(WARNING, "%s: the load failed: %s", self.name, failure)
            return
        log(INFO, "%s: loaded in %.3f s (stage %s)", self.name, slot.seconds, slot.stage)
        self.touch()

    def _enter(self, state: State, reason: str) -> None:
        self._state = state
        self._reason = reason
        self._changed.notify_all()
        self._listeners.notify_state(state, reason)
        if state in {"ready", "failed", "unloaded"}:
            self._listeners.notify_end()

    def _begin_unloading(self, reason: str) -> Slot[T] | None:
        if self._state != "ready":
            return None
        self._enter("unloading", reason)
        return self._serving.end()

    def _end_unloading(self, slot: Slot[T] | None, timeout: float | None = None) -> None:
        if slot is None:
            return
        try:
            self._serving.close(slot, timeout)
        finally:
            with self._changed:
                if self._state == "unloading":  # no call loaded it again meanwhile
                    self._enter("unloaded", self._reason)
            log(INFO, "%s: unloaded (%s)", self.name, self._reason)

    def _begin_reload(self) -> Slot[T] | None:
        """Return the slot to replace; None if nothing was loaded, and the model is loaded now."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_settled and not self._serving.promoting)
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
    def _is_settled(self) -> bool:
        return self._state not in {"loading", "unloading"} and not self._reloading
