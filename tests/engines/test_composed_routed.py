"""RoutedEngine: each text is embedded by the engine of its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotstart.engines.composed import RoutedEngine
from hotstart.types import EngineOutput, Matrix, TaskText


class LengthEngine:
    """Gives every text a row for each of its characters, or one, with a number of its own."""

    dimension = 1

    def __init__(self, number: int, is_ragged: bool) -> None:
        self.name = f"engine {number}"
        self.number = number
        self.is_ragged = is_ragged
        self.closed = False

    def embed(self, texts: Sequence[Any], *_: object, **__: object) -> Any:
        import numpy as np

        lengths = [len(text) if self.is_ragged else 1 for text in texts]
        rows = Matrix.of(np.full((sum(lengths), 1), self.number, np.float32))
        counts = [len(text) for text in texts]
        return EngineOutput(rows, counts, lengths=lengths if self.is_ragged else None)

    def count(self, texts: Sequence[Any]) -> list[int]:
        return [self.number for _ in texts]

    def metrics(self) -> tuple[str, ...]:
        return (self.name,)

    def close(self) -> None:
        self.closed = True


def routed(is_ragged: bool) -> tuple[RoutedEngine, list[LengthEngine]]:
    engines = [LengthEngine(number, is_ragged) for number in (1, 2)]
    return RoutedEngine(engines, [(), ("query",)]), engines  # type: ignore[arg-type]


TEXTS = [TaskText("abc", task="query"), TaskText("d"), TaskText("", task="query"), "ef"]


def test_rows_come_back_in_the_order_of_the_texts() -> None:
    engine, parts = routed(is_ragged=False)
    output = engine.embed(TEXTS)
    assert output.vectors.tolist() == [[2], [1], [2], [1]]
    assert (output.token_counts, output.lengths) == ([3, 1, 0, 2], None)
    assert engine.count(TEXTS) == [2, 1, 2, 1]
    assert len(engine.embed([]).vectors) == 0
    assert [*map(str, engine.metrics())] == ["engine 1", "engine 2"]
    engine.close()
    assert [part.closed for part in parts] == [True, True]


def test_rows_of_several_lengths_come_back_in_the_order_of_the_texts() -> None:
    engine, _ = routed(is_ragged=True)
    output = engine.embed(TEXTS)
    assert output.vectors.tolist() == [[2]] * 3 + [[1]] * 3
    assert output.lengths == [3, 1, 0, 2]
