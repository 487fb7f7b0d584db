"""A better stage beside the one that serves, swapped in between two calls."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.pool.strategies import next_stage
from hotstart.types import Progress, Stage

T = TypeVar("T")

Load = Callable[[Stage, Progress, T | None], T]
"""Loads a stage and reports its progress; beside a model of the same instance, or beside none."""

logger = logging.getLogger(__name__)

GRACE = 0.25
"""Seconds a promotion lets the first calls go ahead of it."""


class Slot(Generic[T]):
    """A model loaded to one stage, how many seconds that took, and how many calls use it."""

    def __init__(self, model: T, stage: Stage, seconds: float) -> None:
        self.model = model
        self.stage = stage
        self.seconds = seconds
        self.users = 0


class Promoter(Generic[T]):
    """Promotes what an instance serves, one stage at a time. Its methods need the condition held.

    Args:
        load: loads one stage.
        swap: puts a new slot in the place of an old one and returns the slot to be closed: the
            old one, or the new one where the old serves no more.
        close: closes a slot once no call uses it.
    """

    def __init__(
        self,
        changed: threading.Condition,
        stages: tuple[Stage, ...],
        patience: int,
        load: Load[T],
        swap: Callable[[Slot[T], Slot[T]], Slot[T]],
        close: Callable[[Slot[T]], None],
    ) -> None:
        self._changed = changed
        self._stages = stages
        self._patience = patience
        self._load = load
        self._swap = swap
        self._close = close
        self._asked: Stage | None = None
        self.running = False
        self.refused: dict[str, str] = {}

    def ask(self, stage: Stage) -> None:
        """Have `stage` be the next, whatever the strategy says, even if it was refused before."""
        self.refused.pop(stage, None)
        self._asked = stage

    def pause(self) -> None:
        """Let none begin until `resume`; none may be running."""
        self.running = True

    def resume(self, slot: Slot[T] | None, texts: int) -> None:
        """Let promotions go on from what serves now."""
        self.running = False
        if slot is not None:
            self.consider(slot, texts)

    def consider(self, slot: Slot[T], texts: int) -> None:
        """Start the promotion that is due after `texts` texts; at most one runs."""
        if self._asked == slot.stage:  # it serves already
            self._asked = None
        stage = next_stage(self._stages, slot.stage, texts, self._asked, self._patience)
        if not self.running and stage is not None and stage not in self.refused:
            self.running, self._asked = True, None
            threading.Thread(
                target=self._run, args=(slot, stage, texts), name="hotstart-promotion", daemon=True
            ).start()

    def _run(self, old: Slot[T], stage: Stage, texts: int) -> None:
        with self._changed:  # the calls that waited for the first stage go first
            self._changed.wait_for(lambda: texts > 0 and old.users == 0, GRACE)
        following: Slot[T] | None = old
        began = time.monotonic()
        try:
            model = self._load(stage, _unheard, old.model)
            new = Slot(model, stage, time.monotonic() - began)
            with self._changed:
                retired = self._swap(old, new)
            self._close(retired)
            following = new if retired is old else None
        except Exception as error:  # noqa: BLE001 - what serves goes on serving
            logger.warning("Not promoted to %s: %s", stage, error)
            self.refused[stage] = str(error)
        with self._changed:
            self.running = False
            if following is not None:  # else it was unloaded meanwhile
                self.consider(following, texts)
            self._changed.notify_all()


def _unheard(stage: str, fraction: float) -> None:
    """The progress of a promotion, for which nobody waits."""
