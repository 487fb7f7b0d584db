"""One call whose texts run with those of others: what it asks, and what it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import NamedTuple

from hotstart.pool.lanes import estimated_tokens
from hotstart.tracing import here, past
from hotstart.types import Asked, Card, Made


class Part(NamedTuple):
    """The texts `start` to `stop` of a call, which run in its so-manyeth attempt."""

    call: Call
    start: int
    stop: int
    attempt: int


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
        self.attempt = 0
        self._parts: dict[int, Made] = {}

    def take(self, part: Part, made: Made) -> bool:
        """Keep the vectors of a run, and tell them when they are all; one thread at a time.

        Returns false where they are of another space than those before: the model was loaded anew
        between two runs, and all of it has to run again.
        """
        if part.attempt != self.attempt:
            return True  # of an attempt that was given up
        before = next(iter(self._parts.values()), made)
        if before.card.fingerprint != made.card.fingerprint:
            self._parts, self.begun = {}, 0
            self.attempt += 1
            return False
        self._parts[part.start] = made
        if sum(len(each.vectors) for each in self._parts.values()) == len(self.tokens):
            self._tell(_joined([each for _, each in sorted(self._parts.items())]))
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
