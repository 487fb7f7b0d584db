"""One load in a thread of its own; it ends once: with a model, an error, or at its time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.errors import LoadTimeout, NotReady
from hotstart.pool.promotion import Slot
from hotstart.types import Progress, Stage, State

T = TypeVar("T")


class Attempt(Generic[T]):
    """A load that was begun. `doing` and `fraction` tell how far it is."""

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
        """Whether this call is the one that ends the attempt."""
        with self._lock:
            first, self._over = not self._over, True
        if first and self._timer:
            self._timer.cancel()
        return first

    def _report(self, stage: str, fraction: float) -> None:
        self.doing, self.fraction = stage, fraction
