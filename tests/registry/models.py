"""Models of a program's own, for the tests of the registry: slow, failing, and counting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any


class Sum:
    """Adds `bias` to what it is asked; consistent only as long as its two halves agree."""

    def __init__(self, bias: float) -> None:
        self.first = self.second = bias

    def predict(self, inputs: Any) -> Any:
        assert self.first == self.second, "half a model"
        return [number + self.first for number in inputs]


def make(bias: float = 0.0, seconds: float = 0.0, error: str = "") -> Sum:
    time.sleep(seconds)
    if error:
        raise RuntimeError(error)
    return Sum(bias)


def from_file(path: str) -> Sum:
    """A model whose file holds its bias."""
    return Sum(float(Path(path).read_text(encoding="utf-8")))


class Large:
    def __init__(self, megabytes: int) -> None:
        self.memory = bytearray(megabytes * 1_000_000)
        self.memory[::4096] = b"x" * len(self.memory[::4096])  # touched: it is in memory

    def predict(self, inputs: Any) -> Any:
        return len(self.memory)


gates: dict[str, threading.Event] = {}


def gated(name: str) -> Sum:
    """A model that is loaded when its gate is opened."""
    assert gates.setdefault(name, threading.Event()).wait(60)
    return Sum(0.0)


class Odd(BaseException):
    """No Exception, and without a message that can be formatted."""

    def __str__(self) -> str:
        raise AttributeError("what")


def raising(error: str) -> Any:
    """A model that raises the named error for each input."""
    kinds = {each.__name__: each for each in (StopIteration, SystemExit, KeyboardInterrupt, Odd)}

    def predict(inputs: Any) -> Any:
        raise kinds[error]

    return predict


def hanging() -> Any:
    """A model that never answers."""
    return lambda inputs: threading.Event().wait()
