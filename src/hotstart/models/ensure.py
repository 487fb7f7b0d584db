"""The artifact of a model, please: what others ask, without looking first what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotstart.config import Settings
from hotstart.models.artifacts import Artifact, look
from hotstart.models.spec import ModelSpec
from hotstart.types import Progress

if TYPE_CHECKING:
    from hotstart.models.trials import Trials


def ensure(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
    trials: Trials | None = None,
) -> Artifact:
    """Return the artifact of `spec`, prepared now if it is absent, stale or damaged.

    The network is used only where the spec allows it. `trials` are for a preparation, see `build`.

    Raises:
        ModelError: the model cannot be found, read or run, as its subclasses say.
    """
    usable, _ = look(spec, settings)
    if usable is not None:
        return usable
    from hotstart.models.prepare import prepare_once  # what builds is not needed to open

    return prepare_once(spec, settings, on_progress, trials)
