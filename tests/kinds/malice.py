"""A pickle that creates a file when it is loaded."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from hotstart.kinds import ModelSource


class Malice:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def malicious(mark: Path) -> bytes:
    return pickle.dumps(Malice(mark))


def material(source: object, **facts: Any) -> ModelSource:
    return ModelSource("m", str(source), **facts)


def check_progress(what: str, fraction: float) -> None:
    assert 0 <= fraction <= 1
