"""When a model is loaded. A strategy is data; the pool acts on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotstart.errors import InvalidInput


@dataclass(frozen=True)
class Strategy:
    """When an embedder has its model loaded."""

    starts: Literal["at first use", "in the constructor"]


STRATEGIES = {
    "lazy": Strategy(starts="at first use"),
    "eager": Strategy(starts="in the constructor"),
}


def strategy_named(name: str) -> Strategy:
    """Return the strategy called `name`; InvalidInput for a name that is none."""
    if name not in STRATEGIES:
        raise InvalidInput("strategy", got=name, expected=f"one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]
