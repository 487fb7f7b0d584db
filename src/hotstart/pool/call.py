"""One call whose texts run with those of others: what it asks, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from hotstart.pool.lanes import estimated_tokens
from hotstart.tracing import here, past
from hotstart.types import Asked, Card, Made


class Call:
    """Texts that wait for their vectors, which `future` will hold. Cancelled, it is not run.

    Args:
        asked: gives the texts as the model is to see them, knowing the model.
        inputs: the texts as they came, by which they are weighed.
    """

    def __init__(self, asked: Callable[[Card], Sequence[Asked]], inputs: Sequence[Asked]) -> None:
        self.future: Future[Made] = Future()
        self.tokens = [estimated_tokens(text) for text in inputs]
        self.weight = sum(self.tokens)
        self.begun = 0
        self.asked = asked
        self.came = time.time_ns()
        self.within = here()
        self._parts: list[Made] = []

    def take(self, part: Made) -> bool:
        """Keep the vectors of a run, and tell them when they are all; return false where they are
        of another space than those before: the model was loaded anew between two runs."""
        if self._parts and self._parts[0].card.fingerprint != part.card.fingerprint:
            self._parts, self.begun = [], 0
            return False
        self._parts.append(part)
        if sum(len(part.vectors) for part in self._parts) == len(self.tokens):
            self._tell(_joined(self._parts))
        return True

    def fail(self, error: BaseException) -> None:
        """Have whoever waits for it raise `error`."""
        with suppress(InvalidStateError):  # nobody waits any more
            self.future.set_exception(error)

    def _tell(self, made: Made) -> None:
        with suppress(InvalidStateError):
            self.future.set_result(made)

    def trace(self, began: int, entered: int, engine: str, texts: int) -> None:
        """Have a run of it be spans of the caller's trace: it waited, ran with others, and there
        was the engine. Moments are nanoseconds since the epoch."""
        if self.within is not None:
            ended = time.time_ns()
            past("queue", self.came, began, self.within)
            run = past("batch", began, ended, self.within, texts=texts)
            past("engine", entered, ended, run, engine=engine)


def _joined(parts: Sequence[Made]) -> Made:
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    counts = [part.tokens for part in parts if part.tokens is not None]
    tokens = sum(counts) if len(counts) == len(parts) else None
    return Made(np.concatenate([part.vectors for part in parts]), parts[0].card, tokens)
