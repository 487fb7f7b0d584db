"""From what a user names to the spec of a model, and why its strategy is what it is."""

from __future__ import annotations

from hotstart.config import read_settings
from hotstart.engines import engine_for
from hotstart.models.spec import KINDS, ModelSpec
from hotstart.pool.foresight import check_source
from hotstart.pool.strategies import Choice, choose, strategy_named
from hotstart.types import LoadingStrategy


def spec_of(
    source: str,
    *,
    kind: str = "embedding",
    revision: str | None = None,
    strategy: str | LoadingStrategy | None = None,
    engine: str | None = None,
    precision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    allow_download: bool = False,
) -> tuple[ModelSpec, Choice]:
    """Return the spec of the model `source`, and the choice of its strategy. Looks nowhere.

    Raises:
        InvalidInput: an argument cannot be used.
    """
    choice = choose(strategy, read_settings().strategy)
    usual = strategy_named(choice.name).precision
    spec = ModelSpec(
        *(source, revision, allow_download, choice.name),
        engine=engine_for(source, engine, kind),
        precision=precision or (usual if usual in KINDS[kind] else "float32"),
        device=device,
        trust_remote_code=trust_remote_code,
        kind=kind,
    )
    check_source(spec)
    return spec, choice
