"""When a model is loaded, and how far. A strategy is data; the pool acts on it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from hotstart.errors import InvalidInput
from hotstart.types import Stage


class Strategy(NamedTuple):
    """When an embedder has its model loaded, and to which stage."""

    starts: Literal["at first use", "in the constructor"]
    stage: Stage


STRATEGIES = {
    "lazy": Strategy(starts="at first use", stage="first light"),
    "eager": Strategy(starts="in the constructor", stage="full"),
}


def strategy_named(name: str) -> Strategy:
    """Return the strategy called `name`; InvalidInput for a name that is none."""
    if name not in STRATEGIES:
        raise InvalidInput("strategy", got=name, expected=f"one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
