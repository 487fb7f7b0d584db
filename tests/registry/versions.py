"""Versions of one model, told apart by what they add."""

from __future__ import annotations

from collections.abc import Callable


def one() -> Callable[[float], float]:
    return lambda number: number + 1


def two() -> Callable[[float], float]:
    return lambda number: number + 2


def broken() -> object:
    raise RuntimeError("it is broken")


def raising() -> Callable[[float], float]:
    def fail(number: float) -> float:
        raise RuntimeError(f"no answer to {number}")

    return fail
