"""Two engines of one artifact: questions are run by the one, bulk work by the other.

What is best for many texts is not for one: of several batches side by side each has a part of the
cores, and a question would wait for one of them to end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.engines.base import Engine
    from hotstart.engines.graph import GraphEngine
    from hotstart.engines.text import Tokenizer
    from hotstart.telemetry import Figure

_BULK = 4096  # characters: about what questions that came together are run in


class PairedEngine:
    """See `hotstart.engines.base.Engine` for what it promises.

    Args:
        question: runs what is little work. Closed with this.
        bulk: runs what is much, and gives this its name. Closed with this.
    """

    def __init__(self, question: GraphEngine, bulk: Engine) -> None:
        self.name, self.dimension = bulk.name, bulk.dimension
        self._question, self._bulk = question, bulk

    @property
    def tokenizer(self) -> Tokenizer:
        """The artifact's, which engines opened beside this one share."""
        return self._question.tokenizer

    def embed(
        self, texts: Sequence[Any], batch_size: int | None = None, timeout: float | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of `texts`, float32 (len(texts), dimension), in their order."""
        engine = self._bulk if _characters(texts) > _BULK else self._question
        return engine.embed(texts, batch_size, timeout)

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return how many tokens of each text are run."""
        return self._question.count(texts)

    def figures(self) -> Iterator[Figure]:
        """Yield what both count."""
        return chain(self._question.figures(), self._bulk.figures())

    def close(self) -> None:
        """Give the memory of both back."""
        self._question.close()
        self._bulk.close()


def _characters(texts: Sequence[Any]) -> int:
    return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
