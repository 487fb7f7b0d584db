"""Preparing, one process at a time: lock, look again, build."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import ExitStack
from dataclasses import replace

from hotstart.config import Settings
from hotstart.locks import exclusive
from hotstart.models.artifacts import Artifact, check, look, verify
from hotstart.models.names import artifact_folder, compiled_folder
from hotstart.models.spec import KINDS, ModelSpec
from hotstart.models.trials import Trials
from hotstart.preparation.prepare import build
from hotstart.types import Progress

logger = logging.getLogger(__name__)


def prepare(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
    trials: Trials | None = None,
) -> Artifact:
    """Prepare the artifact of `spec` anew, whatever is there; `trials` as in `build`."""
    with exclusive(_lock_path(spec, settings)):
        return check(build(spec, settings, on_progress, trials))


def prepare_once(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
    trials: Trials | None = None,
) -> Artifact:
    """Prepare the artifact of `spec` unless another process did so while this one waited.

    A damaged one is named in the log and prepared again, once: a fresh one that is damaged too
    raises ArtifactDamaged.
    """
    with exclusive(_lock_path(spec, settings)):
        usable, why = look(spec, settings)
        if usable is not None:
            return usable
        logger.log(logging.WARNING if why else logging.INFO, "Preparing %s%s", spec.source, why)
        return check(build(spec, settings, on_progress, trials))


def repair(
    artifact: Artifact,
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress,
    trials: Trials | None = None,
) -> Artifact | None:
    """Prepare `artifact` anew if, read whole, it is damaged; None where it is as recorded."""
    faults = verify(artifact)
    if not faults:
        return None
    logger.warning("Preparing %s again: %s", spec.source, "; ".join(faults))
    return prepare(spec, settings, on_progress, trials)


def remove(spec: ModelSpec, settings: Settings) -> bool:
    """Remove the artifacts of `spec`'s model, of every kind and precision; its originals stay.

    Returns whether there was one.
    """
    home = os.path.dirname(artifact_folder(spec, settings))
    with ExitStack() as held:
        for kind, precisions in KINDS.items():
            for precision in precisions:
                variant = replace(spec, kind=kind, precision=precision)
                held.enter_context(exclusive(_lock_path(variant, settings)))
                compiled = compiled_folder(artifact_folder(variant, settings))
                shutil.rmtree(compiled, ignore_errors=True)  # none where no engine compiled
        if not os.path.isdir(home):
            return False
        shutil.rmtree(home)
        return True


def _lock_path(spec: ModelSpec, settings: Settings) -> str:
    home, variant = os.path.split(artifact_folder(spec, settings))
    return os.path.join(settings.cache_dir, "locks", f"{os.path.basename(home)}--{variant}.lock")
