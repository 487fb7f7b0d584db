"""From a spec to a model in memory: the artifact of `models`, run by an engine of `engines`."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hotstart.config import read_settings
from hotstart.engines import open_engine
from hotstart.engines.base import Engine
from hotstart.errors import HotstartError
from hotstart.models.artifacts import Artifact, verify
from hotstart.models.ensure import ensure, prepare
from hotstart.models.metadata import Metadata
from hotstart.models.spec import ModelSpec
from hotstart.resources import available_cores
from hotstart.types import Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
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
    artifact = ensure(spec, settings, report)
    try:
        return _open(artifact, report)
    except HotstartError:
        raise
    except Exception:
        faults = verify(artifact)
        if not faults:
            raise
        logger.warning("Preparing %s again: %s", spec.source, "; ".join(faults))
        return _open(prepare(spec, settings, report), report)


def _open(artifact: Artifact, report: Progress) -> LoadedModel:
    report("engine", 0.0)
    engine = open_engine(artifact.metadata.engine, artifact.prepared, available_cores())
    return LoadedModel(engine, artifact.metadata)
