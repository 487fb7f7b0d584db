"""Engines made of several: one for each task, or one for questions and one for bulk work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from hotstart.types import EngineOutput, Matrix

if TYPE_CHECKING:
    from hotstart.engines import Engine
    from hotstart.engines.graph import GraphEngine, Tokenizer
    from hotstart.telemetry import Metric


class RoutedEngine:
    """The engines of a model with a Router, each for the texts of some tasks.

    Args:
        engines: the engines; the first also reads texts of tasks that none is for.
        tasks: the tasks of each engine.

    Attributes:
        engines: the engines.
    """

    def __init__(self, engines: Sequence[GraphEngine], tasks: Sequence[Collection[str]]) -> None:
        self.name = engines[0].name
        self.dimension = engines[0].dimension
        self.engines = tuple(engines)
        self._numbers = {task: n for n, each in enumerate(tasks) for task in each}

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the first engine."""
        return self.engines[0].tokenizer

    @property
    def runtime(self) -> str:
        """What runs the graphs."""
        return str(getattr(self.engines[0], "runtime", ""))

    def embed(
        self,
        texts: Sequence[Any],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        parts = [
            (positions, engine.embed(chosen, batch_size, timeout, is_cancelled))
            for positions, engine, chosen in self._chosen(texts)
        ]
        if len(parts) == 1:
            return parts[0][1]
        items: list[bytes | bytearray | memoryview] = [b""] * len(texts)
        counts = [0] * len(texts)
        lengths = [1] * len(texts)
        for positions, output in parts:
            rows = 0
            for number, position in enumerate(positions):
                lengths[position] = output.lengths[number] if output.lengths is not None else 1
                items[position] = output.vectors.slice(rows, rows + lengths[position]).data
                counts[position] = (output.token_counts or counts)[number]
                rows += lengths[position]
        first = parts[0][1]
        matrix = Matrix(bytearray().join(items), first.vectors.dimension)
        return first._replace(
            vectors=matrix, token_counts=counts, lengths=first.lengths and lengths
        )

    def count(self, texts: Sequence[Any]) -> list[int]:
        """Return the token count of each text, special tokens included."""
        counts = [0] * len(texts)
        for positions, engine, chosen in self._chosen(texts):
            for position, count in zip(positions, engine.count(chosen), strict=True):
                counts[position] = count
        return counts

    def _chosen(
        self, texts: Sequence[Any]
    ) -> Iterator[tuple[list[int], GraphEngine, Sequence[Any]]]:
        """Yield the positions of the texts of each engine, the engine and the texts."""
        groups: dict[int, list[int]] = {}
        for position, text in enumerate(texts):
            number = self._numbers.get(getattr(text, "task", ""), 0)
            groups.setdefault(number, []).append(position)
        for number, positions in (groups or {0: []}).items():
            yield positions, self.engines[number], [texts[position] for position in positions]

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of each engine."""
        return chain.from_iterable(engine.metrics() for engine in self.engines)

    def close(self) -> None:
        """Free the memory of each engine."""
        for engine in self.engines:
            engine.close()


_BULK = 4096  # characters: about the size of a batch of questions


class DualEngine:
    """Two engines of one artifact: one for questions, one for bulk work.

    `close` closes both engines.

    Args:
        question: runs small calls.
        bulk: runs large calls, and gives the DualEngine its name.

    Attributes:
        parts: both engines.
    """

    def __init__(self, question: GraphEngine | RoutedEngine, bulk: Engine) -> None:
        self.name = bulk.name
        self.dimension = bulk.dimension
        self._question = question
        self._bulk = bulk
        self.parts: tuple[Engine, ...] = (question, bulk)

    @property
    def tokenizer(self) -> Tokenizer:
        """The artifact's tokenizer; engines opened `beside` this engine share it."""
        return self._question.tokenizer

    @property
    def engines(self) -> tuple[GraphEngine, ...]:
        """The engines of the routes of a model with a Router; otherwise none."""
        question = self._question
        return question.engines if isinstance(question, RoutedEngine) else ()

    @property
    def runtime(self) -> str:
        """What runs the graph of questions."""
        return str(getattr(self._question, "runtime", ""))

    def embed(
        self,
        texts: Sequence[Any],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        engine = self._bulk if _characters(texts) > _BULK else self._question
        return engine.embed(texts, batch_size, timeout, is_cancelled)

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return the token count of each text, special tokens included."""
        return self._question.count(texts)

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of both engines."""
        return chain(self._question.metrics(), self._bulk.metrics())

    def close(self) -> None:
        """Free the memory of both engines."""
        self._question.close()
        self._bulk.close()


def _characters(texts: Sequence[Any]) -> int:
    return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
