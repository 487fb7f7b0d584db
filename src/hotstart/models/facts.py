"""What can be said of a model before it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged
from hotstart.models.artifacts import find
from hotstart.models.catalog import known_model
from hotstart.models.spec import ModelSpec
from hotstart.types import Classifier

if TYPE_CHECKING:
    from hotstart.models.description import Description
    from hotstart.models.metadata import Metadata


class Facts(NamedTuple):
    """What a caller may need to lay out its storage."""

    dimension: int
    max_seq_length: int
    classifier: Classifier | None = None


def facts(spec: ModelSpec, settings: Settings) -> Facts:
    """Return the facts of the model, from the first place that has them.

    The catalog (no look at the disk), the artifact's record, then the model's own folder.

    Raises:
        ModelError: the model is on this machine in none of these.
    """
    known = known_model(spec.source)
    pinned = known and not spec.names_folder and spec.revision in {None, known.revision}
    if known and pinned and spec.kind == "embedding":
        return Facts(known.dimension, known.max_seq_length)
    try:
        artifact = find(spec, settings)
    except ArtifactDamaged:  # the next load says so and mends it; the originals are as good here
        artifact = None
    if artifact is not None:
        return _facts(artifact.metadata)
    from hotstart.models.description import (
        describe,  # what reads a model folder is needed here alone
    )
    from hotstart.models.locate import locate

    return _facts(describe(locate(spec, settings).folder, spec.source, spec.kind))


def _facts(model: Metadata | Description) -> Facts:
    return Facts(model.truncate_dim or model.dimension, model.max_seq_length, model.classifier)
