"""From a spec to a model in memory: the artifact of `models`, run by an engine of `engines`."""

from __future__ import annotations

from typing import NamedTuple

from hotstart.config import read_settings
from hotstart.engines import open_engine
from hotstart.engines.base import Engine
from hotstart.errors import HotstartError
from hotstart.models.artifacts import Artifact
from hotstart.models.ensure import ensure
from hotstart.models.metadata import Metadata
from hotstart.models.spec import ModelSpec
from hotstart.pool.strategies import strategy_named
from hotstart.resources import available_cores
from hotstart.types import Progress, Stage


class LoadedModel(NamedTuple):
    """An engine that holds a model, and that model's record."""

    engine: Engine
    metadata: Metadata

    def close(self) -> None:
        """Give the memory back."""
        self.engine.close()


def load_model(spec: ModelSpec, report: Progress) -> LoadedModel:
    """Load the model of `spec`, preparing it first where that was not done yet.

    An engine that cannot open the artifact has it read whole; if it proves damaged in a way the
    quick look cannot see, it is prepared again, once.
    """
    settings = read_settings()
    stage = strategy_named(spec.strategy).stage
    artifact = ensure(spec, settings, report)
    try:
        return _open(artifact, stage, report)
    except HotstartError:
        raise
    except Exception:
        from hotstart.models.prepare import repair  # seldom needed, and not cheap to import

        repaired = repair(artifact, spec, settings, report)
        if repaired is None:
            raise
        return _open(repaired, stage, report)


def _open(artifact: Artifact, stage: Stage, report: Progress) -> LoadedModel:
    report(stage, 0.0)
    name = artifact.metadata.engine
    return LoadedModel(
        open_engine(name, artifact.prepared, stage, available_cores()), artifact.metadata
    )
