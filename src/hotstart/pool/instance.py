"""One loaded model and its state; the only writer of that state.

    unloaded ──load──▶ loading ──▶ ready ──unload──▶ unloading ──▶ unloaded
                          └──────▶ failed ──asked again after the back-off──▶ loading

However many threads ask, one load runs. A caller that stops waiting stops nothing: the load runs in
a thread of its own and ends for those who still wait and for those who come later.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

from hotstart.errors import HotstartError, LoadFailed, NotReady
from hotstart.types import Progress, State

T = TypeVar("T")

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0
"""Seconds between a failed load and the next try, doubled with each failure in a row."""


class Status(NamedTuple):
    """What an instance says of itself.

    Attributes:
        reason: why it is in this state, for a person to read.
        stage: what its load is doing, or did last.
        load_time: seconds the last successful load took, None before one ended.
        loads: loads that ended well.
        in_use: calls that are using the model now.
    """

    state: State
    reason: str
    stage: str
    load_time: float | None
    loads: int
    in_use: int


class Instance(Generic[T]):
    """The model `name`, loaded by `load` and given back by `close`. Safe from any thread."""

    def __init__(
        self, name: str, load: Callable[[Progress], T], close: Callable[[T], None]
    ) -> None:
        self.name = name
        self._load = load
        self._close = close
        self._changed = threading.Condition()
        self._state: State = "unloaded"
        self._reason = "not asked for yet"
        self._stage = "-"
        self._model: T | None = None
        self._in_use = 0
        self._loads = 0
        self._load_time: float | None = None
        self._began = 0.0
        self._failure: HotstartError | None = None
        self._failed_loads = self._failures_in_row = 0
        self._retry_at = 0.0

    @property
    def state(self) -> State:
        """The state at this moment."""
        return self._state

    def status(self) -> Status:
        """Return a consistent account of this moment."""
        with self._changed:
            return Status(
                state=self._state,
                reason=self._reason,
                stage=self._stage,
                load_time=self._load_time,
                loads=self._loads,
                in_use=self._in_use,
            )

    def peek(self) -> T | None:
        """Return the model if it is loaded at this moment; never waits, starts nothing."""
        return self._model if self._state == "ready" else None

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
            with self.lease(timeout):
                return True
        except NotReady:
            return False

    @contextmanager
    def lease(self, timeout: float | None = None) -> Iterator[T]:
        """Yield the loaded model, loading it if need be; it is not unloaded while it is leased.

        Args:
            timeout: seconds to wait for the model; None waits as long as the load takes.

        Raises:
            NotReady: it was not ready in time. The load goes on.
            HotstartError: the load failed, for the reason it states.
        """
        with self._changed:
            model = self._wait_ready(timeout)
            self._in_use += 1
        try:
            yield model
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()

    def unload(self) -> None:
        """Give the model's memory back, after a load under way and the calls in flight have ended.

        A call that comes meanwhile waits and has the model loaded again.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._state not in {"loading", "unloading"})
            if self._state != "ready":
                return
            self._enter("unloading", "unload was asked for")
            self._changed.wait_for(lambda: self._in_use == 0)
            model, self._model = self._model, None
        assert model is not None
        try:
            self._close(model)
        finally:
            with self._changed:
                self._enter("unloaded", "unload was asked for")

    def settle(self, timeout: float) -> float:
        """Wait up to `timeout` seconds for a load under way to end; return the seconds left."""
        deadline = time.monotonic() + timeout
        with self._changed:
            self._changed.wait_for(lambda: self._state != "loading", max(0.0, timeout))
        return deadline - time.monotonic()

    def _wait_ready(self, timeout: float | None) -> T:
        """Wait, the condition held, until there is a model or the reason why there is none."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._start_if_due()
        failed_before = self._failed_loads
        while self._state != "ready":
            if self._state == "failed" or self._failed_loads > failed_before:
                assert self._failure is not None
                raise copy.copy(self._failure) from self._failure.__cause__
            if self._state == "unloaded":  # by an unload that ended while this call waited
                self._start_if_due()
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self._not_ready()
            self._changed.wait(left)
        assert self._model is not None
        return self._model

    def _not_ready(self) -> NotReady:
        return NotReady(
            self.name,
            state=self._state,
            stage=self._stage,
            elapsed=time.monotonic() - self._began,
            expected=self._load_time,
        )

    def _start_if_due(self) -> None:
        due = self._state == "unloaded" or (
            self._state == "failed" and time.monotonic() >= self._retry_at
        )
        if due:
            self._began = time.monotonic()
            self._enter("loading", "asked for")
            threading.Thread(
                target=self._run_load, name=f"hotstart-load-{self.name}", daemon=True
            ).start()

    def _run_load(self) -> None:
        try:
            model = self._load(self._report)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the waiters must be told
            self._fail(error)
            return
        with self._changed:
            self._model, self._failures_in_row = model, 0
            self._loads += 1
            self._load_time = time.monotonic() - self._began
            self._enter("ready", f"loaded in {self._load_time:.3f} s")

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**self._failures_in_row)
            self._failures_in_row += 1
            self._failed_loads += 1
            self._retry_at = time.monotonic() + backoff
            if isinstance(error, HotstartError):
                self._failure = error
            else:
                self._failure = LoadFailed(self.name, error=error, retry_in=backoff)
                self._failure.__cause__ = error
            self._enter("failed", self._failure.facts)

    def _report(self, stage: str, fraction: float) -> None:
        self._stage = stage

    def _enter(self, state: State, reason: str) -> None:
        self._state, self._reason = state, reason
        self._changed.notify_all()
