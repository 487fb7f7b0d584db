"""Loading strategies as data: when a model loads, and in which stages."""

from __future__ import annotations

from typing import Literal, NamedTuple

from hotstart.errors import InvalidInput
from hotstart.system import ResourceProfile
from hotstart.types import LoadingStrategy, Stage

Start = Literal["at first use", "at once", "in the constructor"]


class Strategy(NamedTuple):
    """When a model is loaded, and in which stages.

    Attributes:
        starts: the event that starts the load.
        stages: stages in order; the model answers from the first one on, each later one is a
            promotion.
        precision: default precision of the weights.
        prepared_only: whether a load may neither prepare nor download.
        patience: texts embedded before the first promotion, so that a command with one text does
            not pay for packed weights.
    """

    starts: Start
    stages: tuple[Stage, ...]
    precision: str = "float32"
    prepared_only: bool = False
    patience: int = 0


STRATEGIES = {
    "lazy": Strategy("at first use", ("fast_start", "full"), patience=32),
    "background": Strategy("at once", ("full",)),
    "progressive": Strategy("at once", ("fast_start", "full", "throughput")),
    "quantized": Strategy("at first use", ("full",), precision="int8"),
    "cached": Strategy("at once", ("full",), prepared_only=True),
    "eager": Strategy("in the constructor", ("full",)),
}

AUTO = "auto"
BULK_TEXTS = 512
"""Texts embedded before the throughput engine, seconds in the loading, pays for itself."""


class StrategyChoice(NamedTuple):
    """The name of a strategy, and why it was chosen."""

    name: str
    description: str


def requested_name(requested: str | None, configured: str | None) -> str:
    """Return the name of a strategy: the given one, else the configured one, else `lazy`."""
    name = requested or configured or "lazy"
    return name.value if isinstance(name, LoadingStrategy) else name


def choose(name: str, weights: int = 0) -> StrategyChoice:
    """Return the strategy of `name`; `auto` chooses by the machine and gives the reason.

    Args:
        name: a key of STRATEGIES, or AUTO.
        weights: bytes of the model's weights in float32, if known.
    """
    if name == AUTO:
        profile = ResourceProfile.detect(weights)
        return StrategyChoice(profile.strategy, f"{profile.strategy} (auto: {profile.why})")
    strategy_named(name)
    return StrategyChoice(name, name)


def strategy_named(name: str) -> Strategy:
    """Return the strategy `name`; raise InvalidInput for an unknown name."""
    if name not in STRATEGIES:
        known = ", ".join([*STRATEGIES, AUTO])
        raise InvalidInput("strategy", got=name, expected=f"one of {known}")
    return STRATEGIES[name]
