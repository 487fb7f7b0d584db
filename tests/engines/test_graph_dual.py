"""Two engines of one artifact: little work by the one, much by the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hotstart.engines.graph import DualEngine
from hotstart.types import EngineOutput


class Noted:
    dimension = 2

    def __init__(self, name: str) -> None:
        self.name, self.asked, self.closed = name, 0, False

    def embed(self, texts: Sequence[Any], *_: object) -> Any:
        self.asked += 1
        return EngineOutput(np.zeros((len(texts), 2), np.float32), None)

    def count(self, texts: Sequence[Any]) -> list[int]:
        return [3 for _ in texts]

    def metrics(self) -> tuple[str, ...]:
        return (self.name,)

    def close(self) -> None:
        self.closed = True


def test_little_work_is_run_by_the_one_and_much_by_the_other() -> None:
    question, bulk = Noted("onnx"), Noted("openvino")
    paired = DualEngine(question, bulk)  # type: ignore[arg-type]
    for asked in (["a"], ["short"] * 100, [("query", "text")], []):
        assert len(paired.embed(asked).vectors) == len(asked)
    assert (question.asked, bulk.asked) == (4, 0)
    for asked in (["long " * 1000], ["short text"] * 1000, [("query", "text " * 1000)]):
        assert len(paired.embed(asked).vectors) == len(asked)
    assert (question.asked, bulk.asked) == (4, 3)
    assert (paired.name, paired.dimension, paired.count(["a"])) == ("openvino", 2, [3])
    assert [*map(str, paired.metrics())] == ["onnx", "openvino"]
    paired.close()
    assert (question.closed, bulk.closed) == (True, True)
