"""One whole artifact, however many processes ask for it: look, lock, look again, build."""

from __future__ import annotations

import logging
import os
import shutil

from hotstart.config import Settings
from hotstart.errors import ArtifactDamaged
from hotstart.locks import exclusive
from hotstart.models.artifacts import Artifact, artifact_folder, check, find, is_stale
from hotstart.models.spec import ModelSpec
from hotstart.types import Progress

logger = logging.getLogger(__name__)


def ensure(spec: ModelSpec, settings: Settings, on_progress: Progress | None = None) -> Artifact:
    """Return the artifact of `spec`, prepared now if it is absent, stale or damaged.

    A damaged one is named in the log and prepared again, once: a fresh one that is damaged too
    raises ArtifactDamaged. The network is used only where the spec allows it.
    """
    usable, _ = _look(spec, settings)
    if usable is not None:
        return usable
    with exclusive(_lock_path(spec, settings)):
        usable, why = _look(spec, settings)
        if usable is not None:
            return usable
        logger.log(logging.WARNING if why else logging.INFO, "Preparing %s%s", spec.source, why)
        return _build(spec, settings, on_progress)


def prepare(spec: ModelSpec, settings: Settings, on_progress: Progress | None = None) -> Artifact:
    """Prepare the artifact of `spec` anew, whatever is there."""
    with exclusive(_lock_path(spec, settings)):
        return _build(spec, settings, on_progress)


def remove(spec: ModelSpec, settings: Settings) -> bool:
    """Remove the artifact of `spec` and return whether there was one; its originals stay."""
    home = os.path.dirname(artifact_folder(spec, settings))
    with exclusive(_lock_path(spec, settings)):
        if not os.path.isdir(home):
            return False
        shutil.rmtree(home)
        return True


def _look(spec: ModelSpec, settings: Settings) -> tuple[Artifact | None, str]:
    """The artifact, if it can be used; else None and, where one is there, why it cannot."""
    try:
        artifact = find(spec, settings)
        if artifact is None:
            return None, ""
        if is_stale(artifact):
            return None, f" again: {artifact.metadata.original_folder} has changed"
        return check(artifact), ""
    except ArtifactDamaged as error:
        return None, f" again: {error.facts}"


def _build(spec: ModelSpec, settings: Settings, on_progress: Progress | None) -> Artifact:
    from hotstart.models.build import build  # opening an artifact needs nothing of what builds one

    return check(build(spec, settings, on_progress))


def _lock_path(spec: ModelSpec, settings: Settings) -> str:
    home, variant = os.path.split(artifact_folder(spec, settings))
    return os.path.join(settings.cache_dir, "locks", f"{os.path.basename(home)}--{variant}.lock")
