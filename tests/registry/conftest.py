from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hotstart import ModelRegistry
from hotstart.pool import load as backoff
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config

Make = Callable[..., ModelRegistry]


def custom(function: str = "make", **options: Any) -> dict[str, Any]:
    """The configuration of a model of `registry.models`."""
    return {"kind": "custom", "source": f"registry.models:{function}", "options": options}


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes registries of pools of their own, and closes them at the end."""
    made: list[ModelRegistry] = []

    def make_one(*, pool: Pool | None = None, **models: dict[str, Any]) -> ModelRegistry:
        config = read_config({"models": models})
        made.append(ModelRegistry(config, pool=pool or Pool()))
        return made[-1]

    yield make_one
    for registry in made:
        registry.close()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_BACKOFF", 0.0)
