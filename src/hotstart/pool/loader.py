"""From a spec to a model in memory: found by `models`, run by an engine of `engines`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from hotstart.config import Settings, read_settings, remote_access
from hotstart.engines import engine_class, entry_of, open_engine
from hotstart.engines.base import Engine
from hotstart.errors import ArtifactMissing, HotstartError, InsufficientMemory
from hotstart.models.artifacts import Artifact, look
from hotstart.models.ensure import ensure
from hotstart.models.metadata import Measured, Metadata
from hotstart.models.names import artifact_folder, compiled_folder
from hotstart.models.spec import ModelSpec
from hotstart.models.trials import Trials
from hotstart.pool.foresight import card_of, foresee_card
from hotstart.pool.strategies import strategy_named
from hotstart.system import available_cores, memory_left, return_freed_memory
from hotstart.tracing import span
from hotstart.types import Card, Prepared, Progress, Stage

if TYPE_CHECKING:
    from hotstart.engines.graph import GraphEngine
    from hotstart.preparation.graph.weights import Ranges

_ENGINE_BYTES = 60_000_000  # libraries and working memory, as measured for a short text
THROUGHPUT_ENGINE = "openvino"


class LoadedModel(NamedTuple):
    """An engine that holds a model, and what calls need to know of it."""

    engine: Engine
    card: Card
    artifact: Artifact | None

    def close(self) -> None:
        """Give the memory back."""
        self.engine.close()
        return_freed_memory()


def load_model(
    spec: ModelSpec, stage: Stage, report: Progress, beside: LoadedModel | None
) -> LoadedModel:
    """Load one stage of the model of `spec`, preparing it first where that was not done yet.

    A promotion, `beside` what serves, opens the very artifact that serves, whatever has become of
    the model's files meanwhile: one instance answers in one vector space.

    Raises:
        ArtifactMissing: the strategy loads prepared models only, and this is none.
        InsufficientMemory: the model does not fit into what this process may still use.
        HotstartError: it cannot be found, read or run, as its subclasses say.
    """
    with span("load", model=spec.source, engine=spec.engine, stage=stage):
        if beside is not None and beside.artifact is not None:
            return _open(beside.artifact, spec, stage, report, beside.engine)
        return _OPENERS[entry_of(spec.engine).opened_from](spec, stage, report)


def weights_bytes(spec: ModelSpec) -> int:
    """Return how many bytes of weights are prepared for `spec`, 0 where that is not known."""
    if entry_of(spec.engine).opened_from != "artifact":
        return 0
    usable, _ = look(spec, read_settings())
    return usable.metadata.weights_bytes if usable else 0


def prepare_artifact(spec: ModelSpec, report: Progress | None = None) -> Artifact:
    """Return the artifact of `spec`, prepared and measured if need be, without loading it."""
    return ensure(spec, read_settings(), report, TRIALS)


def _ranges(observed: Prepared) -> Ranges:
    from hotstart.preparation.calibrate import ranges  # it starts processes: seldom needed

    return ranges(observed)


def _measure(prepared: Prepared, reference: Prepared) -> Measured:
    from hotstart.preparation.calibrate import measure

    return measure(prepared, reference)


TRIALS = Trials(_ranges, _measure)
"""Run an artifact of lower precision while it is prepared."""


def _from_artifact(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    """An engine that cannot open the artifact has it read whole; if it proves damaged in a way
    the quick look cannot see, it is prepared again, once."""
    settings = read_settings()
    report("metadata", 0.0)
    artifact = _artifact(spec, settings, report)
    _check_memory(spec, artifact.metadata)
    try:
        return _open(artifact, spec, stage, report)
    except HotstartError:
        raise
    except Exception:
        from hotstart.models.prepare import repair  # seldom needed, and not cheap to import

        repaired = repair(artifact, spec, settings, report, TRIALS)
        if repaired is None:
            raise
        return _open(repaired, spec, stage, report)


def _from_folder(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    from hotstart.models.card import folder_card
    from hotstart.models.locate import locate

    report("metadata", 0.0)
    folder = locate(spec, read_settings()).folder
    report(stage, 0.5)
    options = {name: getattr(spec, name) for name in entry_of(spec.engine).options}
    engine = engine_class(spec.engine)(folder, **options)
    return LoadedModel(engine, folder_card(folder, engine.dimension, spec.engine), None)


def _from_address(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    """Nothing is asked of the other machine yet: its first answer shows whether it is there."""
    from hotstart.engines.remote.address import Address

    report(stage, 0.5)
    address = Address.parse(spec.source)
    access = remote_access(address.protocol)
    engine = engine_class(spec.engine)(address.at(access.url), access.key)
    return LoadedModel(engine, _foreseen(spec), None)


def _from_nothing(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    from hotstart.engines.fake import FakeSettings

    report(stage, 0.5)
    engine = engine_class(spec.engine)(FakeSettings.parse(spec.source))
    return LoadedModel(engine, _foreseen(spec), None)


def _foreseen(spec: ModelSpec) -> Card:
    card = foresee_card(spec)
    assert card is not None, f"engine {spec.engine} can be foreseen"
    return card


def _artifact(spec: ModelSpec, settings: Settings, report: Progress) -> Artifact:
    if not strategy_named(spec.strategy).prepared_only:
        return ensure(spec, settings, report, TRIALS)
    usable, _ = look(spec, settings)
    if usable is None:
        folder = artifact_folder(spec, settings)
        raise ArtifactMissing(spec.source, folder=folder, kind=spec.kind)
    return usable


def _check_memory(spec: ModelSpec, metadata: Metadata) -> None:
    """Refuse a load that would be killed half-way: weights, their packed copy, and the engine."""
    needed = 2 * metadata.weights_bytes + _ENGINE_BYTES
    left = memory_left()
    if left.bytes < needed:
        raise InsufficientMemory(spec.source, needed=needed, available=left.bytes, limit=left.limit)


def _open(
    artifact: Artifact,
    spec: ModelSpec,
    stage: Stage,
    report: Progress,
    beside: Engine | None = None,
) -> LoadedModel:
    report(stage, 0.5)
    opened = functools.partial(_engine, artifact, beside=beside)
    if stage == "throughput":
        from hotstart.engines.paired import PairedEngine  # seldom needed

        question = cast("GraphEngine", opened(THROUGHPUT_ENGINE, "first light"))
        engine: Engine = PairedEngine(question, opened(THROUGHPUT_ENGINE, stage))
    else:
        engine = opened(spec.engine, stage)
    return LoadedModel(engine, card_of(artifact), artifact)


def _engine(artifact: Artifact, name: str, stage: Stage, *, beside: Engine | None) -> Engine:
    return open_engine(
        *(name, artifact.prepared, stage, available_cores()),
        cache_folder=compiled_folder(artifact.folder),
        beside=beside,
    )


_OPENERS: dict[str, Callable[[ModelSpec, Stage, Progress], LoadedModel]] = {
    "artifact": _from_artifact,
    "folder": _from_folder,
    "address": _from_address,
    "nothing": _from_nothing,
}
