"""Load a model from its spec; what is known before the load."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from hotstart.config import Settings, read_settings, remote_access
from hotstart.engines import (
    ENGINES,
    Engine,
    engine_class,
    engine_for,
    entry_of,
    open_engine,
)
from hotstart.errors import (
    ArtifactMissing,
    CheckFailed,
    HotstartError,
    InsufficientMemory,
    InvalidInput,
    ModelDamaged,
    ModelError,
    UnsupportedModel,
    check_seconds,
    described,
)
from hotstart.models.artifacts import Artifact, artifact_info, info_on_disk, look
from hotstart.models.catalogue import known_model
from hotstart.models.metadata import Metadata
from hotstart.models.spec import (
    KINDS,
    ModelSpec,
    artifact_folder,
    compiled_folder,
    holds_static,
    is_repository,
)
from hotstart.ort import start_loading_library
from hotstart.pool.promotion import Load
from hotstart.pool.strategies import (
    AUTO,
    StrategyChoice,
    choose,
    requested_name,
    strategy_named,
)
from hotstart.system import COPIES, available_cores, memory_left, return_freed_memory
from hotstart.telemetry import span
from hotstart.types import (
    EmbedOutput,
    EngineOutput,
    LoadingStrategy,
    Matrix,
    ModelInfo,
    Progress,
    Stage,
    TaskText,
)

if TYPE_CHECKING:
    from hotstart.engines.composed import RoutedEngine
    from hotstart.engines.graph import GraphEngine


def unprepared_info(spec: ModelSpec) -> ModelInfo | None:
    """Return the info of a model without preparing it; None if only a load can tell.

    Raises:
        ModelError: the model is not on this machine.
    """
    if entry_of(spec.engine).opened_from == "artifact":
        return info_on_disk(spec, read_settings())
    return info_without_loading(spec)


def info_without_loading(spec: ModelSpec) -> ModelInfo | None:
    """Return the info of a prepared or remote model; None if only a load can tell."""
    look_up = _INFO_WITHOUT_LOADING.get(entry_of(spec.engine).opened_from)
    return look_up(spec) if look_up else None


def check_source(spec: ModelSpec) -> None:
    """Raise InvalidInput for an invalid remote address. Reads no file."""
    if entry_of(spec.engine).opened_from == "address":
        _address_info(spec)


def _by_artifact(spec: ModelSpec) -> ModelInfo | None:
    artifact, _ = look(spec, read_settings())
    return artifact_info(artifact) if artifact else None


def _by_address(spec: ModelSpec) -> ModelInfo | None:
    from hotstart.engines.remote.address import RemoteAddress

    states_fingerprint = RemoteAddress.parse(spec.source).states_fingerprint
    return None if states_fingerprint else _address_info(spec)


def _address_info(spec: ModelSpec) -> ModelInfo:
    from hotstart.engines.remote.address import RemoteAddress, known_dimension

    address = RemoteAddress.parse(spec.source)
    address = address.at(remote_access(address.protocol).url)
    return ModelInfo(known_dimension(address), None, {}, None, f"remote-{address.identity}")


def _by_settings(spec: ModelSpec) -> ModelInfo:
    from hotstart.engines.fake import FakeSettings

    dimension = FakeSettings.parse(spec.source).dimension
    return ModelInfo(dimension, None, {}, None, f"fake-{dimension}")


_INFO_WITHOUT_LOADING: dict[str, Callable[[ModelSpec], ModelInfo | None]] = {
    "artifact": _by_artifact,
    "address": _by_address,
    "nothing": _by_settings,
}


def ensure(
    spec: ModelSpec,
    settings: Settings,
    on_progress: Progress | None = None,
) -> Artifact:
    """Return the artifact of `spec`, prepared now if it is absent, stale or damaged.

    Use the network only if the spec allows it.

    Raises:
        ModelError: the model cannot be found, read or run.
    """
    usable, _ = look(spec, settings)
    if usable is not None:
        return usable
    from hotstart.preparation.prepare import prepare_once  # opening an artifact does not need it

    return prepare_once(spec, settings, on_progress)


_ENGINE_BYTES = 60_000_000  # libraries and working memory, measured with a short text
THROUGHPUT_ENGINE = "openvino"


class LoadedModel:
    """An engine with a loaded model, and the info of the model.

    Attributes:
        info: the info of the model. A server may replace the model behind an address: then `info`
            has the fingerprint that the server stated last.
    """

    def __init__(self, engine: Engine, info: ModelInfo, artifact: Artifact | None) -> None:
        self.engine = engine
        self.info = info
        self.artifact = artifact

    def close(self) -> None:
        """Free the memory."""
        self.engine.close()
        return_freed_memory()


def load_model(
    spec: ModelSpec, stage: Stage, report: Progress, beside: LoadedModel | None
) -> LoadedModel:
    """Load one stage of the model of `spec`; prepare the model first if needed.

    A promotion opens the artifact of the serving model `beside`, even if the model's files changed
    meanwhile: one instance has one vector space.

    Raises:
        ArtifactMissing: the strategy loads prepared models only, and the model is not prepared.
        InsufficientMemory: the model does not fit into the memory that is left.
        HotstartError: the model cannot be found, read or run.
    """
    with span("load", model=spec.source, engine=spec.engine, stage=stage):
        if beside is not None and beside.artifact is not None:
            promoted = _open(beside.artifact, spec, stage, report, beside.engine)
            try:
                _check_promotion(spec, beside, promoted)
            except BaseException:
                promoted.close()
                raise
            return promoted
        return _OPENERS[entry_of(spec.engine).opened_from](spec, stage, report)


_PROBES = ("hotstart", "How do I reset my password?", "Ça dépend: 42 % of 漢字, or не все.")
_LARGEST_DIFFERENCE = 0.14
"""Of the vectors' length: a cosine of 0.99. In 8 bits the engines round inputs differently."""


def _check_promotion(spec: ModelSpec, serving: LoadedModel, promoted: LoadedModel) -> None:
    """Raise CheckFailed unless both embed the probes alike.

    A compiled model may be damaged although its file is as recorded. It is removed.
    """
    from hotstart.engines.composed import DualEngine

    probes: list[Any] = list(_PROBES)
    if spec.kind == "reranker":
        probes = [(text, text) for text in _PROBES]
    elif serving.info.tasks:
        probes = [TaskText(text, task=task) for task in serving.info.tasks for text in _PROBES]
    expected = serving.engine.embed(probes)
    parts = promoted.engine.parts if isinstance(promoted.engine, DualEngine) else [promoted.engine]
    try:
        apart = max(_difference(expected, part.embed(probes), spec.kind) for part in parts)
        reason = f"its vectors differ by {apart:.2f} of their length from the serving engine's"
        agrees = apart <= _LARGEST_DIFFERENCE
    except ModelDamaged as error:
        reason = error.facts
        agrees = False
    if not agrees:
        import shutil  # 3 ms, and only a refused promotion needs it

        assert promoted.artifact is not None
        shutil.rmtree(compiled_folder(promoted.artifact.folder), ignore_errors=True)
        raise CheckFailed(spec.source, question=_PROBES, reason=reason)


def _difference(expected: EngineOutput, got: EngineOutput, kind: str) -> float:
    """Return the largest difference of two rows, as a share of the longer one.

    The logits of a reranker are compared together, because one alone may be near 0, and so are the
    weights of a sparse model.
    """
    if kind == "sparse":
        left, right = (_weights(output) for output in (expected, got))
        names = sorted(left.keys() | right.keys())
        pairs = iter([([left.get(n, 0.0) for n in names], [right.get(n, 0.0) for n in names])])
    else:
        matrices = [expected.vectors, got.vectors]
        if kind == "reranker":
            matrices = [Matrix(logits.data, len(logits.data) // 4) for logits in matrices]
        if len(matrices[0]) != len(matrices[1]):
            return 1.0
        pairs = zip(matrices[0].tolist(), matrices[1].tolist(), strict=True)
    return max(
        math.dist(left, right) / max(math.hypot(*left), math.hypot(*right), 1e-12)
        for left, right in pairs
    )


def _weights(output: EngineOutput) -> dict[tuple[int, float], float]:
    """Return the weights of a sparse model by text and index."""
    rows = iter(output.vectors.tolist())
    return {
        (text, index): weight
        for text, length in enumerate(output.lengths or ())
        for index, weight in islice(rows, length)
    }


def weights_bytes(spec: ModelSpec) -> int:
    """Return the bytes of prepared weights of `spec`, 0 if unknown."""
    if entry_of(spec.engine).opened_from != "artifact":
        return 0
    usable, _ = look(spec, read_settings())
    return usable.metadata.weights_bytes if usable else 0


def prepare_artifact(spec: ModelSpec, report: Progress | None = None) -> Artifact:
    """Return the artifact of `spec`, preparing it if needed, without loading it."""
    return ensure(spec, read_settings(), report)


def _from_artifact(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    """Open the artifact; if the engine cannot, verify it fully and prepare it again once."""
    settings = read_settings()
    report("metadata", 0.0)
    if spec.engine == "onnx":
        start_loading_library()  # beside the imports and the tokenizer
    try:
        artifact = _artifact(spec, settings, report)
    except UnsupportedModel:
        usual = spec.replace(engine="onnx", precision="float32", file=None)
        if spec != usual or not _is_static(spec):
            raise
        # It was downloaded just now: `spec_of` could not know.
        return _from_folder(spec.replace(engine="static"), stage, report)
    _check_memory(spec, artifact.metadata)
    try:
        return _open(artifact, spec, stage, report)
    except HotstartError:
        raise
    except Exception as error:
        from hotstart.engines.graph import is_of_the_graph
        from hotstart.preparation.prepare import repair  # rarely needed and slow to import

        repaired = repair(artifact, spec, settings, report)
        if repaired is not None:
            return _open(repaired, spec, stage, report)
        if not is_of_the_graph(error):
            raise
        folder = artifact.metadata.original_folder
        raise ModelDamaged(folder, reason=f"it cannot be opened ({described(error)})") from error


def _from_folder(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    from hotstart.models.artifacts import folder_info
    from hotstart.models.locate import locate

    report("metadata", 0.0)
    settings = read_settings()
    try:
        folder = locate(spec, settings).folder
    except ModelError:
        if not spec.allow_download:
            raise
        from hotstart.models.hub import fetch  # deferred: only downloads need it

        report("downloading", 0.0)
        folder = fetch(spec, settings)
    report(stage, 0.5)
    options = {name: getattr(spec, name) for name in entry_of(spec.engine).options}
    engine = engine_class(spec.engine)(folder, **options)
    info = folder_info(folder, engine.dimension, spec.engine)
    said = {name: getattr(engine, name) for name in _SAID if hasattr(engine, name)}
    return LoadedModel(engine, info._replace(**said), None)


_SAID = ("max_seq_length", "classifier", "prompts", "default_prompt_name")
"""What an engine of a folder may say of its model."""


def _from_address(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    """Open without a request: the first call shows whether the server runs.

    A server that states fingerprints is asked for one text, to know the space of its model.
    """
    from hotstart.engines.remote.address import RemoteAddress

    report(stage, 0.5)
    address = RemoteAddress.parse(spec.source)
    access = remote_access(address.protocol)
    engine = engine_class(spec.engine)(address.at(access.url), access.key)
    info = _address_info(spec)
    if address.states_fingerprint:
        info = EmbedOutput.of(engine.embed(["fingerprint"]), info).info
    return LoadedModel(engine, info, None)


def _from_nothing(spec: ModelSpec, stage: Stage, report: Progress) -> LoadedModel:
    from hotstart.engines.fake import FakeSettings

    report(stage, 0.5)
    engine = engine_class(spec.engine)(FakeSettings.parse(spec.source))
    return LoadedModel(engine, _by_settings(spec), None)


def _artifact(spec: ModelSpec, settings: Settings, report: Progress) -> Artifact:
    if not strategy_named(spec.strategy).prepared_only:
        return ensure(spec, settings, report)
    usable, _ = look(spec, settings)
    if usable is None:
        folder = artifact_folder(spec, settings)
        raise ArtifactMissing(spec.source, folder=folder, arguments=spec.arguments)
    return usable


def _check_memory(spec: ModelSpec, metadata: Metadata) -> None:
    """Raise InsufficientMemory if weights, their packed copy and the engine do not fit."""
    needed = COPIES * metadata.weights_bytes + _ENGINE_BYTES
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
        from hotstart.engines.composed import DualEngine  # rarely needed

        question = cast("GraphEngine | RoutedEngine", opened(THROUGHPUT_ENGINE, "fast_start"))
        engine: Engine = DualEngine(question, opened(THROUGHPUT_ENGINE, stage))
    else:
        engine = opened(spec.engine, stage)
    return LoadedModel(engine, artifact_info(artifact), artifact)


def _engine(artifact: Artifact, name: str, stage: Stage, *, beside: Engine | None) -> Engine:
    return open_engine(
        name,
        artifact.prepared,
        stage,
        available_cores(),
        cache_folder=compiled_folder(artifact.folder),
        beside=beside,
    )


_OPENERS: dict[str, Callable[[ModelSpec, Stage, Progress], LoadedModel]] = {
    "artifact": _from_artifact,
    "folder": _from_folder,
    "address": _from_address,
    "nothing": _from_nothing,
}


class Limits(NamedTuple):
    """Time limits in seconds of a load and of an unused model; None for no limit."""

    load_timeout: float | None = None
    keep_alive: float | None = None

    @classmethod
    def checked(cls, load_timeout: float | None, keep_alive: float | None) -> Limits:
        """Return the limits; raise InvalidInput if one is no number of seconds."""
        check_seconds("load_timeout", load_timeout)
        check_seconds("keep_alive", keep_alive)
        return cls(load_timeout, keep_alive)


NO_LIMITS = Limits()


def _unknown() -> int:
    return 0


class ModelFactory(NamedTuple):
    """How a model is loaded and freed.

    Attributes:
        name: name for messages.
        load: loads one of `stages`; for a promotion it gets the serving model.
        close: frees the object that `load` returned.
        patience: uses before the first promotion.
        size: returns the approximate bytes of the model, 0 if unknown; may read files.
        pinned: whether the model is never evicted.
    """

    name: str
    load: Load[Any]
    close: Callable[[Any], None]
    stages: tuple[Stage, ...] = ("full",)
    patience: int = 0
    size: Callable[[], int] = _unknown
    pinned: bool = False


def factory_of(spec: ModelSpec) -> ModelFactory:
    """Return the factory of the model of `spec`; without an artifact it has one stage."""
    strategy = strategy_named(spec.strategy)
    staged = entry_of(spec.engine).opened_from == "artifact"
    return ModelFactory(
        spec.source,
        functools.partial(load_model, spec),
        LoadedModel.close,
        strategy.stages if staged else strategy.stages[:1],
        strategy.patience,
        functools.partial(weights_bytes, spec),
    )


def spec_of(
    model: str | os.PathLike[str],
    *,
    kind: str = "embedding",
    revision: str | None = None,
    strategy: str | LoadingStrategy | None = None,
    engine: str | None = None,
    precision: str | None = None,
    device: str | None = None,
    trust_remote_code: bool = False,
    allow_download: bool = False,
    file: str | None = None,
    max_length: int | None = None,
) -> tuple[ModelSpec, StrategyChoice]:
    """Return the spec of `model`, a name or a folder, and its strategy.

    Reads no file but the small ones that tell a static model, which has an engine of its own.

    Raises:
        InvalidInput: an argument cannot be used.
    """
    source = os.fspath(model) if isinstance(model, os.PathLike) else model
    if not isinstance(source, str):
        raise InvalidInput("model", got=model, expected="a folder or a model name")
    if source is not model and not source.startswith((".", "/", "~")):
        source = os.path.join(os.curdir, source)  # pathlib drops a leading ./
    settings = read_settings()
    wanted = requested_name(strategy, settings.strategy)
    name = engine_for(source, engine, kind)
    weights = 0
    if wanted == AUTO and entry_of(name).opened_from == "artifact":
        weights = _float32_bytes(ModelSpec(source, revision, kind=kind), settings)
    choice = choose(wanted, weights)
    _check_engine_runs(name, kind, precision, device, file)
    usual = strategy_named(choice.name).precision
    runs_usual = usual in KINDS[kind] and usual in entry_of(name).precisions
    spec = ModelSpec(
        source,
        revision,
        allow_download=allow_download,
        strategy=choice.name,
        engine=name,
        precision=precision or (usual if runs_usual else "float32"),
        device=device,
        trust_remote_code=trust_remote_code,
        kind=kind,
        file=file,
        max_length=max_length,
    )
    check_source(spec)
    if entry_of(name).opened_from == "artifact" and _is_static(spec):
        for argument, given in (("engine", engine), ("precision", precision), ("file", file)):
            if given not in {None, "float32"}:
                expected = f"left out for a static model, which {source} is"
                raise InvalidInput(argument, got=given, expected=expected)
        spec = spec.replace(engine="static", precision="float32")
    return spec, choice


def _float32_bytes(spec: ModelSpec, settings: Settings) -> int:
    """Return the bytes of the weights in float32; 0 if they are unknown."""
    from hotstart.models.locate import locate  # only the strategy `auto` needs these
    from hotstart.safetensors import FLOATS, ITEM_BYTES, read_header

    try:
        folder = locate(spec, settings).folder
        return sum(
            tensor.length // ITEM_BYTES[tensor.dtype] * 4
            for name in os.listdir(folder)
            if name.endswith(".safetensors")
            for tensor in read_header(os.path.join(folder, name)).values()
            if tensor.dtype in FLOATS
        )
    except (ModelError, InvalidInput):  # the load tells the reason
        known = None if spec.names_folder else known_model(spec.source)
        return 4 * (known.parameters or 0) if known else 0


def _is_static(spec: ModelSpec) -> bool:
    """Return whether `spec` means a static model of the catalogue or of this machine."""
    if spec.kind != "embedding":
        return False
    known = None if spec.names_folder else known_model(spec.source)
    if known is not None:
        return known.kind == "static"
    is_named = spec.names_folder or is_repository(spec.source)
    return is_named and holds_static(spec, read_settings())


def _check_engine_runs(
    engine: str, kind: str, precision: str | None, device: str | None, file: str | None
) -> None:
    """Raise InvalidInput for a precision, a device or a file that `engine` would ignore."""
    entry = entry_of(engine)
    if precision in KINDS[kind] and precision not in entry.precisions:
        others = [name for name, other in ENGINES.items() if precision in other.precisions]
        runs = f"{' or '.join(entry.precisions)} with engine {engine!r}"
        expected = f"{runs}; {precision} needs engine {' or '.join(others)}"
        raise InvalidInput("precision", got=precision, expected=expected)
    if device not in {None, "cpu"} and "device" not in entry.options:
        expected = f"None or cpu with engine {engine!r}; other devices need engine torch"
        raise InvalidInput("device", got=device, expected=expected)
    if file is not None and entry.opened_from != "artifact":
        expected = f"None with engine {engine!r}; ONNX files need engine onnx or openvino"
        raise InvalidInput("file", got=file, expected=expected)
