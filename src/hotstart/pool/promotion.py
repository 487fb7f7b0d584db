"""Load a better stage beside the serving one and swap it in between two calls.

A call keeps the slot it began with; the old slot is closed when its last call has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hotstart.concurrency import active_work
from hotstart.errors import HotstartError, described
from hotstart.pool.strategies import BULK_TEXTS
from hotstart.types import Progress, Stage

T = TypeVar("T")

Load = Callable[[Stage, Progress, T | None], T]
"""Loads a stage and reports its progress; beside a model of the same instance, or beside none."""

GRACE = 0.25
"""Seconds a promotion lets the first calls go ahead of it."""


def next_stage(
    stages: tuple[Stage, ...],
    current: Stage,
    texts: int,
    requested: Stage | None,
    patience: int = 0,
) -> Stage | None:
    """Return the stage to promote to from `current`, None to stay.

    Args:
        stages: stages of the strategy.
        current: the serving stage.
        texts: number of embedded texts; the throughput stage needs BULK_TEXTS.
        requested: a requested stage, which is due at once.
    """
    if requested is not None and requested != current:
        return requested
    later = stages[stages.index(current) + 1 :] if current in stages else ()
    following = next(iter(later), None)
    due = BULK_TEXTS if following == "throughput" else patience
    return following if texts >= due else None


class Slot(Generic[T]):
    """A model loaded to one stage, its load time, and its calls."""

    def __init__(self, model: T, stage: Stage, seconds: float) -> None:
        self.model = model
        self.stage = stage
        self.seconds = seconds
        self.calls: set[object] = set()


class ActiveSlot(Generic[T]):
    """The slot that new calls get; None while nothing serves.

    The caller holds `changed`, except for `close` and `retire`.

    Args:
        changed: the condition of the instance.
        stages: stages of the strategy, in the order of promotion.
        patience: texts before the first promotion.
        load: loads a stage beside the serving model.
        close: frees a model.

    Attributes:
        stage_times: load time of each reached stage in seconds, in order.
        promoting: whether a promotion is running.
        refused: stages that could not be promoted to, with the reason.
    """

    def __init__(
        self,
        changed: threading.Condition,
        *,
        stages: tuple[Stage, ...],
        patience: int,
        load: Load[T],
        close: Callable[[T], None],
    ) -> None:
        self.slot: Slot[T] | None = None
        self.stage_times: dict[str, float] = {}
        self.promoting = False
        self.refused: dict[str, str] = {}
        self._changed = changed
        self._stages = stages
        self._patience = patience
        self._load = load
        self._close = close
        self._texts = 0
        self._requested: Stage | None = None

    def begin(self, slot: Slot[T]) -> None:
        """Serve `slot`, the first stage of a load."""
        self._serve(slot)
        self._promote_if_due()

    def take(self, texts: int, taken: list[Slot[T]]) -> Slot[T]:
        """Return the slot for a call of so many texts; `give_back` ends its use.

        The slot is added to `taken`, which stands for the call, before the call uses it: Ctrl-C may
        come after each step.
        """
        slot = self.slot
        assert slot is not None
        taken.append(slot)
        slot.calls.add(id(taken))
        self._texts += texts
        self._promote_if_due()
        return slot

    def give_back(self, taken: list[Slot[T]]) -> None:
        """End the use of the slot in `taken`, if there is one."""
        for slot in taken:
            slot.calls.discard(id(taken))
        self._changed.notify_all()

    def end(self) -> Slot[T] | None:
        """Stop serving; return the slot to close."""
        slot, self.slot = self.slot, None
        return slot

    def promote(self, stage: Stage) -> None:
        """Load `stage` next, even if it was refused before: now, or once a stage serves."""
        self.refused.pop(stage, None)
        self._requested = stage
        self._promote_if_due()

    def pause_promotions(self) -> Slot[T]:
        """Return the serving slot, which no promotion replaces before `resume_promotions`."""
        assert self.slot is not None
        assert not self.promoting
        self.promoting = True
        return self.slot

    def resume_promotions(self) -> None:
        """Continue promotions from the serving slot."""
        self.promoting = False
        self._promote_if_due()
        self._changed.notify_all()

    def succeed(self, new: Slot[T]) -> None:
        """Serve `new`, a reload, from the next call on."""
        self._serve(new)

    def close(self, slot: Slot[T], timeout: float | None = None) -> None:
        """Free the model of `slot` when the last call that uses it has ended.

        After `timeout` seconds a thread waits for that call instead.
        """
        with self._changed:
            is_unused = self._changed.wait_for(lambda: not slot.calls, timeout)
        if is_unused:
            self._close(slot.model)
        else:
            self.retire(slot)

    def retire(self, slot: Slot[T]) -> None:
        """Close `slot`: now, or in a thread once its last call has ended."""
        with self._changed:
            unused = not slot.calls
        if unused:
            self._close(slot.model)
            return
        drain = threading.Thread(
            target=self.close, args=(slot,), name="hotstart-drain", daemon=True
        )
        try:
            drain.start()
        except RuntimeError:  # the system cannot start another thread
            self.close(slot)

    def _serve(self, slot: Slot[T]) -> None:
        self.slot = slot
        self.stage_times = {slot.stage: slot.seconds}

    def _promote_if_due(self) -> None:
        """Start the promotion that is due, if none is running."""
        slot = self.slot
        if slot is None:
            return
        if self._requested == slot.stage:  # it is the serving stage
            self._requested = None
        stage = next_stage(
            self._stages,
            current=slot.stage,
            texts=self._texts,
            requested=self._requested,
            patience=self._patience,
        )
        if stage is None or self.promoting or stage in self.refused:
            return
        promotion = threading.Thread(
            target=self._run_promotion, args=(slot, stage), name="hotstart-promotion", daemon=True
        )
        self.promoting = True
        try:
            promotion.start()
        except RuntimeError:  # the system cannot start another thread; a later call tries again
            self.promoting = False
            return
        self._requested = None

    def _run_promotion(self, old: Slot[T], stage: Stage) -> None:
        """Load `stage` beside `old` and swap it in, or refuse it and let `old` serve on."""
        with active_work:
            self._promote_beside(old, stage)
        with self._changed:
            self.promoting = False
            self._promote_if_due()
            self._changed.notify_all()

    def _promote_beside(self, old: Slot[T], stage: Stage) -> None:
        with self._changed:  # let the calls that waited for the first stage go first
            has_calls = self._texts > 0
            self._changed.wait_for(lambda: has_calls and not old.calls, GRACE)
        began = time.monotonic()
        try:
            model = self._load(stage, _ignore_progress, old.model)
            self.close(self._swap(old, Slot(model, stage, time.monotonic() - began)))
        except BaseException as error:  # noqa: BLE001 - the old slot serves on
            if active_work.is_stopping or self.slot is not old:
                return  # nobody waits for it: the process ends, or the model was unloaded
            import logging  # logging takes 4 ms to import

            reason = error.facts if isinstance(error, HotstartError) else described(error)
            logging.getLogger(__name__).warning("Not promoted to %s: %s", stage, reason)
            self.refused[stage] = reason

    def _swap(self, old: Slot[T], new: Slot[T]) -> Slot[T]:
        """Replace `old` by `new`; return the slot to close.

        Return `new` if `old` was unloaded meanwhile.
        """
        with self._changed:
            if self.slot is not old:
                return new
            self.slot = new
            self.stage_times[new.stage] = new.seconds
            return old


def _ignore_progress(stage: str, fraction: float) -> None:
    """Ignore the progress of a promotion: no caller waits for it."""
