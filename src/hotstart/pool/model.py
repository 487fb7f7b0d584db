"""A model as its face needs it: what is known of it, and the vectors it makes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hotstart.deadline import Deadline
from hotstart.engines import entry_of
from hotstart.models.facts import Facts
from hotstart.models.spec import ModelSpec
from hotstart.pool.foresight import card_of, foresee, foresee_card
from hotstart.pool.instance import Instance
from hotstart.pool.loading import LoadedModel, prepare_artifact
from hotstart.progress import Advance
from hotstart.tracing import span
from hotstart.types import Asked, Card, Made

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.metrics import Figure

WINDOW = 1024
"""Texts that are tokenised and sorted by length together."""


class Model:
    """The model of `spec`, held by `instance`; loaded when there is no other way to tell."""

    def __init__(self, spec: ModelSpec, instance: Instance[LoadedModel]) -> None:
        self._spec = spec
        self._instance = instance
        self._last: Card | None = None

    def facts(self) -> Facts:
        """Return its dimension and its limit, without loading it where that can be."""
        foreseen = foresee(self._spec)
        if foreseen is not None:
            return foreseen
        with self._instance.lease() as model:  # its engine alone can tell
            return Facts(model.card.truncate_dim or model.engine.dimension, sys.maxsize)

    def known_card(self) -> Card | None:
        """Return what calls need to know: of the loaded model, else of the one that was loaded
        last, else what can be told without loading it. Never waits."""
        model = self._instance.peek()
        if model is not None:
            self._last = model.card
        elif self._last is None:
            self._last = foresee_card(self._spec)
        return self._last

    def card(self, timeout: float | None = None) -> Card:
        """Return what calls need to know, having the model loaded if need be.

        Raises:
            NotReady: not within `timeout` seconds.
            HotstartError: the load failed.
        """
        known = self.known_card()
        if known is not None:
            return known
        with self._instance.lease(timeout, texts=0) as model:
            return model.card

    def fingerprint(self) -> str:
        """Return the identity of its vector space, having it prepared or loaded if need be."""
        if entry_of(self._spec.engine).opened_from == "artifact":
            return card_of(prepare_artifact(self._spec)).fingerprint
        return self.card().fingerprint

    def embed(
        self,
        count: int,
        texts: Callable[[Card], Sequence[Asked]],
        batch_size: int | None = None,
        timeout: float | None = None,
        advance: Advance | None = None,
    ) -> Made:
        """Return the vectors of `count` texts, float32 (count, dimension), and whose they are.

        Args:
            count: how many; what decides whether a faster engine pays.
            texts: gives them, knowing the model: its prompts are put before them. Of a reranker,
                pairs of texts, whose vectors are its logits.
            batch_size: the most run together; None for what a token budget allows.
            timeout: seconds to wait for the model, and for an engine that asks another machine.
            advance: hears of every few that are done.

        Raises:
            NotReady: the model was not ready in time; its load goes on.
            HotstartError: the load failed, or the engine did.
        """
        import numpy as np

        deadline = Deadline(timeout)
        with (
            span("embed", model=self._spec.source, engine=self._spec.engine, texts=count),
            self._instance.lease(timeout, count) as model,
        ):
            self._last = model.card
            prompted = texts(model.card)
            parts: list[NDArray[np.float32]] = []
            for start in range(0, count, WINDOW):
                window = prompted[start : start + WINDOW]
                parts.append(model.engine.embed(window, batch_size, deadline.left))
                if advance:
                    advance(len(window))
            if not parts:
                parts.append(np.empty((0, model.engine.dimension), np.float32))
            return Made(parts[0] if len(parts) == 1 else np.concatenate(parts), model.card)

    def figures(self) -> Iterator[Figure]:
        """Yield what its engine counts, if it is loaded."""
        model = self._instance.peek()
        if model is not None:
            yield from model.engine.figures()
