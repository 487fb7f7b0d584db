"""One loaded model, as calls use it. Its states, and who writes them, stand in `lifecycle`.

However many threads ask, one load runs. A caller that stops waiting stops nothing: the load runs in
a thread of its own and ends for those who still wait and for those who come later.

A call holds the slot it began with: a promotion or a reload swaps in another one for the calls to
come, and the old one is closed when the last of its calls has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from hotstart.errors import HotstartError, NotReady
from hotstart.pool.hearers import Hear
from hotstart.pool.lifecycle import Lifecycle
from hotstart.pool.status import Status, status_of
from hotstart.types import Progress, Stage

T = TypeVar("T")


class Instance(Lifecycle[T]):
    """The model `name`, loaded by `load` and given back by `close`. Safe from any thread.

    Args:
        load: loads each of `stages`; a promotion is given the model that serves meanwhile.
        load_timeout: seconds after which a load has failed; None lets it take what it takes.
        keep_alive: seconds after the end of the last use at which the model is unloaded.
        patience: texts embedded before the first promotion.
    """

    @property
    def failure(self) -> HotstartError | None:
        """Why the last load failed, None unless the state is `failed`."""
        return self._backoff.failure if self._state == "failed" else None

    def peek(self) -> T | None:
        """Return the model if it is loaded at this moment; never waits, starts nothing."""
        slot = self._serving.slot
        return slot.model if slot is not None and self._state == "ready" else None

    @property
    def last_used(self) -> float:
        """When it was last loaded, used, or touched, by the clock `time.monotonic`."""
        return self._used_at

    @property
    def in_use(self) -> int:
        """How many calls are using the model at this moment."""
        slot = self._serving.slot
        return slot.users if slot is not None else 0

    def status(self) -> Status:
        """Return a consistent account of this moment."""
        with self._changed:
            told = (self._state, self._reason, self._attempt, self._serving)
            return status_of(*told, self._load_time, self._loads)

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
            self.touch()

    def listen(self, on_progress: Progress) -> None:
        """Have `on_progress` called with stage and fraction, by the thread that loads."""
        self._hearers.listen(on_progress)

    def listen_states(self, hear: Hear) -> None:
        """Have `hear` called with the state it is in, and each that it enters, under its lock."""
        with self._changed:
            self._hearers.listen_states(hear)
            hear(self._state, self._reason)

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
            self._changed.wait_for(lambda: self._at_rest)
            slot = self._begin_unloading("unload was asked for")
        self._end_unloading(slot)

    def reload(self) -> None:
        """Load the model anew beside the one that serves, and swap it in between two calls.

        Calls in flight end on the one they began with, which is then closed. Where nothing is
        loaded, this loads. One at a time: a reload asked for while one runs follows it.

        Raises:
            HotstartError: the load failed, for the reason it states. What served serves on.
        """
        from hotstart.pool.reloading import load_apart  # seldom needed, and not cheap to import

        old = self._begin_reload()
        if old is None:
            return
        new, reason = old, "its reload was given up"
        try:
            limit = self._load_timeout
            load, discard = self._load_heard, self._close
            new = load_apart(self.name, self._stages[0], timeout=limit, load=load, discard=discard)
            reason = f"reloaded in {new.seconds:.3f} s"
        except HotstartError as error:
            reason = f"the model of before serves on, its reload failed: {error.facts}"
            raise
        finally:
            self._end_reload(old, new, reason)
