"""DualEngine: small calls run in one engine, large calls in the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotstart.engines.composed import DualEngine
from hotstart.types import EngineOutput, Matrix


class RecordingEngine:
    dimension = 2

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0
        self.closed = False

    def embed(self, texts: Sequence[Any], *_: object, **__: object) -> Any:
        self.calls += 1
        return EngineOutput(Matrix(bytes(8 * len(texts)), 2), None)

    def count(self, texts: Sequence[Any]) -> list[int]:
        return [3 for _ in texts]

    def metrics(self) -> tuple[str, ...]:
        return (self.name,)

    def close(self) -> None:
        self.closed = True


def test_small_calls_use_the_question_engine_and_large_calls_the_bulk_engine() -> None:
    question, bulk = RecordingEngine("onnx"), RecordingEngine("openvino")
    dual = DualEngine(question, bulk)  # type: ignore[arg-type]
    for texts in (["a"], ["short"] * 100, [("query", "text")], []):
        assert len(dual.embed(texts).vectors) == len(texts)
    assert (question.calls, bulk.calls) == (4, 0)
    for texts in (["long " * 1000], ["short text"] * 1000, [("query", "text " * 1000)]):
        assert len(dual.embed(texts).vectors) == len(texts)
    assert (question.calls, bulk.calls) == (4, 3)
    assert (dual.name, dual.dimension, dual.count(["a"])) == ("openvino", 2, [3])
    assert [*map(str, dual.metrics())] == ["onnx", "openvino"]
    dual.close()
    assert (question.closed, bulk.closed) == (True, True)
