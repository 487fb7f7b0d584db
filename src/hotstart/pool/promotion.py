"""Load a better stage beside the serving one and swap it in between two calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.pool.strategies import next_stage
from hotstart.types import Progress, Stage

T = TypeVar("T")

Load = Callable[[Stage, Progress, T | None], T]
"""Loads a stage and reports its progress; beside a model of the same instance, or beside none."""


GRACE = 0.25
"""Seconds a promotion lets the first calls go ahead of it."""


class Slot(Generic[T]):
    """A model loaded to one stage, its load time, and the number of its calls."""

    def __init__(self, model: T, stage: Stage, seconds: float) -> None:
        self.model = model
        self.stage = stage
        self.seconds = seconds
        self.users = 0


class Promoter(Generic[T]):
    """Promotes the serving slot, one stage at a time. Its methods need the condition held.

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
        """Make `stage` the next one, whatever the strategy says, even if it was refused."""
        self.refused.pop(stage, None)
        self._asked = stage

    def pause(self) -> None:
        """Start no promotion until `resume`; none may be running."""
        self.running = True

    def resume(self, slot: Slot[T] | None, texts: int) -> None:
        """Continue promotions from the serving slot."""
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
            import logging  # 4 ms that a start without a failure is spared

            logging.getLogger(__name__).warning("Not promoted to %s: %s", stage, error)
            self.refused[stage] = str(error)
        with self._changed:
            self.running = False
            if following is not None:  # else it was unloaded meanwhile
                self.consider(following, texts)
            self._changed.notify_all()


def _unheard(stage: str, fraction: float) -> None:
    """The progress of a promotion, for which nobody waits."""


class ActiveSlot(Generic[T]):
    """The slot that new calls get; None while nothing serves.

    Attributes:
        stage_times: seconds each stage took to load, in the order they were reached.
        promoter: loads better stages beside.
    """

    def __init__(
        self,
        changed: threading.Condition,
        stages: tuple[Stage, ...],
        patience: int,
        load: Load[T],
        close: Callable[[T], None],
    ) -> None:
        self.slot: Slot[T] | None = None
        self.stage_times: dict[str, float] = {}
        self.promoter = Promoter(changed, stages, patience, load, self._swap, self.close)
        self._changed = changed
        self._close = close
        self._texts = 0

    def begin(self, slot: Slot[T]) -> None:
        """Serve `slot`, the first of a load."""
        self.slot = slot
        self.stage_times = {slot.stage: slot.seconds}
        self.promoter.consider(slot, self._texts)

    def pause_promotions(self) -> Slot[T]:
        """Return what serves, which no promotion replaces until they are resumed."""
        assert self.slot is not None
        self.promoter.pause()
        return self.slot

    def resume_promotions(self) -> None:
        """Continue promotions from the serving slot."""
        self.promoter.resume(self.slot, self._texts)
        self._changed.notify_all()

    def take(self, texts: int) -> Slot[T]:
        """Return the slot for a call of so many texts; it is not closed before it is given back."""
        assert self.slot is not None
        slot = self.slot
        slot.users += 1
        self._texts += texts
        self.promoter.consider(slot, self._texts)
        return slot

    def give_back(self, slot: Slot[T]) -> None:
        """End the use of `slot`."""
        slot.users -= 1
        self._changed.notify_all()

    def promote(self, stage: Stage) -> None:
        """Load `stage` next, now or as soon as something serves."""
        self.promoter.ask(stage)
        if self.slot is not None:
            self.promoter.consider(self.slot, self._texts)

    def end(self) -> Slot[T] | None:
        """Stop serving; return the slot to close."""
        slot, self.slot = self.slot, None
        return slot

    def close(self, slot: Slot[T]) -> None:
        """Give the memory of `slot` back when the last call that uses it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: slot.users == 0)
        self._close(slot.model)

    def retire(self, slot: Slot[T]) -> None:
        """Close `slot`: now, or in a thread once its last call has ended."""
        with self._changed:
            unused = slot.users == 0
        if unused:
            self._close(slot.model)
        else:
            threading.Thread(
                target=self.close, args=(slot,), name="hotstart-drain", daemon=True
            ).start()

    def succeed(self, new: Slot[T]) -> None:
        """Serve `new`, loaded from the beginning, from the next call on."""
        self.slot = new
        self.stage_times = {new.stage: new.seconds}

    def _swap(self, old: Slot[T], new: Slot[T]) -> Slot[T]:
        """Put `new` in the place of `old`; return the one to be closed."""
        if self.slot is not old:
            return new
        self.slot = new
        self.stage_times[new.stage] = new.seconds
        return old
