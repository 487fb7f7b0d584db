"""Who wants to hear of an instance: a load's progress, its end, and each change of state."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from hotstart.types import Progress, State

Hear = Callable[[State, str], None]
"""Called with a state that was entered, and why; under the instance's lock, so only to note it."""

logger = logging.getLogger(__name__)


class Hearers:
    """Callbacks of one instance. A callback that fails harms neither the load nor the others."""

    def __init__(self) -> None:
        self._progress: list[Progress] = []
        self._settled: list[Callable[[], None]] = []
        self._states: list[Hear] = []

    def listen(self, on_progress: Progress) -> None:
        """Have `on_progress` called with each step of each load, by the thread that loads."""
        self._progress.append(on_progress)

    def listen_states(self, hear: Hear) -> None:
        """Have `hear` called with each state that is entered."""
        self._states.append(hear)

    def await_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, at the end of the load under way."""
        self._settled.append(callback)

    def tell(self, stage: str, fraction: float) -> None:
        """Tell of a step."""
        for on_progress in self._progress:
            try:
                on_progress(stage, fraction)
            except Exception:
                logger.exception("A progress callback failed at %s", stage)

    def tell_state(self, state: State, reason: str) -> None:
        """Tell of a state that was entered."""
        for hear in self._states:
            hear(state, reason)

    def tell_end(self) -> None:
        """Tell that the load under way has ended."""
        callbacks, self._settled = self._settled, []
        for callback in callbacks:
            with contextlib.suppress(RuntimeError):  # of an event loop that was closed meanwhile
                callback()
