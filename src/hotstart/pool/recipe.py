"""How a model is made, whatever it is: what a pool needs to know of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from hotstart.engines import entry_of
from hotstart.models.spec import ModelSpec
from hotstart.pool.loader import LoadedModel, load_model, weights_bytes
from hotstart.pool.promotion import Load
from hotstart.pool.strategies import strategy_named
from hotstart.types import Stage


class Limits(NamedTuple):
    """How long a load may take and how long an unused model is kept, in seconds; None: no limit."""

    load_timeout: float | None = None
    keep_alive: float | None = None


NO_LIMITS = Limits()


def _unknown() -> int:
    return 0


class Recipe(NamedTuple):
    """How a model is loaded and given back.

    Attributes:
        name: for messages.
        load: loads each of `stages`; a promotion is given the model that serves meanwhile.
        close: gives back what `load` returned.
        patience: uses before the first promotion.
        size: tells about how many bytes it takes, 0 where that is not known; may look at files.
        pinned: whether it is kept whatever other models need.
    """

    name: str
    load: Load[Any]
    close: Callable[[Any], None]
    stages: tuple[Stage, ...] = ("full",)
    patience: int = 0
    size: Callable[[], int] = _unknown
    pinned: bool = False


def recipe_of(spec: ModelSpec) -> Recipe:
    """Return how the model of `spec` is made; an engine that opens no artifact has one stage."""
    strategy = strategy_named(spec.strategy)
    staged = entry_of(spec.engine).opened_from == "artifact"
    return Recipe(
        spec.source,
        functools.partial(load_model, spec),
        LoadedModel.close,
        strategy.stages if staged else strategy.stages[:1],
        strategy.patience,
        functools.partial(weights_bytes, spec),
    )
