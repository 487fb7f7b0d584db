"""What serves the calls of a ready instance: the slot they hold, and its better successor.

Methods need the instance's condition held, but for `close`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.pool.promotion import Load, Promoter, Slot
from hotstart.types import Stage

T = TypeVar("T")


class Serving(Generic[T]):
    """The slot that new calls get, None while there is none.

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
        """Let `slot` serve, the first of a load."""
        self.slot = slot
        self.stage_times = {slot.stage: slot.seconds}
        self.promoter.consider(slot, self._texts)

    def pause_promotions(self) -> Slot[T]:
        """Return what serves, which no promotion replaces until they are resumed."""
        assert self.slot is not None
        self.promoter.pause()
        return self.slot

    def resume_promotions(self) -> None:
        """Let promotions go on from what serves now."""
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
        """Have `stage` loaded next, now or when something serves."""
        self.promoter.ask(stage)
        if self.slot is not None:
            self.promoter.consider(self.slot, self._texts)

    def end(self) -> Slot[T] | None:
        """Let nothing serve; return what did, to be closed."""
        slot, self.slot = self.slot, None
        return slot

    def close(self, slot: Slot[T]) -> None:
        """Give the memory of `slot` back when the last call that uses it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: slot.users == 0)
        self._close(slot.model)

    def retire(self, slot: Slot[T]) -> None:
        """Have `slot` closed: now, or by a thread of its own once the last call has ended."""
        with self._changed:
            unused = slot.users == 0
        if unused:
            self._close(slot.model)
        else:
            threading.Thread(
                target=self.close, args=(slot,), name="hotstart-drain", daemon=True
            ).start()

    def succeed(self, new: Slot[T]) -> None:
        """Let `new`, loaded from the beginning, serve from the next call on."""
        self.slot = new
        self.stage_times = {new.stage: new.seconds}

    def _swap(self, old: Slot[T], new: Slot[T]) -> Slot[T]:
        """Put `new` in the place of `old`; return the one to be closed."""
        if self.slot is not old:
            return new
        self.slot = new
        self.stage_times[new.stage] = new.seconds
        return old
