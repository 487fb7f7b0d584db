"""What an engine promises."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.telemetry import Figure


class Engine(Protocol):
    """A loaded model. Safe to call from several threads at once.

    Attributes:
        name: its key in `hotstart.engines.ENGINES`.
    """

    name: str

    @property
    def dimension(self) -> int:
        """Length of a vector; of a reranker, how many labels it has."""

    def embed(
        self, texts: Sequence[Any], batch_size: int | None = None, timeout: float | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of `texts`, float32 (len(texts), dimension), in their order.

        Args:
            texts: valid Unicode, str or, of a reranker, pairs of str; may be empty strings, and
                may be none at all.
            batch_size: the most texts run together; by default as many as a token budget allows.
            timeout: seconds within which an engine that asks another machine answers or raises;
                one that computes here takes the time it takes.
        """

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return how many tokens of each text are run, special ones included; None if it cannot
        tell."""

    def figures(self) -> Iterable[Figure]:
        """Return what the engine counts, if anything."""

    def close(self) -> None:
        """Give the model's memory back. No call may be running, and none may follow."""
