"""The table of engines and the protocol that each engine follows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from hotstart.errors import InvalidInput

if TYPE_CHECKING:
    from hotstart.telemetry import Metric
    from hotstart.types import EngineOutput, PreparedModel, Stage


class Engine(Protocol):
    """A loaded model.

    All methods but `close` are thread-safe.

    Attributes:
        name: the engine's key in `hotstart.engines.ENGINES`.
    """

    name: str

    @property
    def dimension(self) -> int:
        """Length of a vector; for a reranker, the number of labels."""

    def embed(
        self,
        texts: Sequence[Any],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts` and the token count of each text.

        Args:
            texts: valid Unicode strings, or pairs of them for a reranker. Strings and the sequence
                may be empty.
            batch_size: maximum texts per batch; None for as many as the token budget allows.
            timeout: seconds after which a remote engine raises; local engines ignore it.
            is_cancelled: whether the vectors are still awaited; engines of an artifact ask between
                two batches.

        Raises:
            CancelledError: `is_cancelled` returned true.
        """

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return the token count of each text, special tokens included; None if unknown."""

    def metrics(self) -> Iterable[Metric]:
        """Return the engine's metrics, if any."""

    def close(self) -> None:
        """Free the model's memory. No call may run during or after `close`."""


OpenedFrom = Literal["artifact", "folder", "address", "nothing"]


class EngineEntry(NamedTuple):
    """The facts of an engine that are known before its import.

    Attributes:
        home: the engine class, as `module:name`.
        extra: the extra of hotstart that installs the library; None if no extra is needed.
        opened_from: the source that the class is called with: an `artifact` (PreparedModel, Stage,
            threads), a model `folder`, the `address` of a remote server, or `nothing` but settings.
        cached: whether the engine caches compiled models in a `cache_folder`.
        options: fields of a ModelSpec that the class takes as keyword arguments.
        waits: whether calls wait for a remote server, so concurrent calls are faster.
        kinds: the model kinds that the engine runs, keys of `hotstart.models.spec.KINDS`.
        precisions: the precisions that the engine runs, values of `KINDS`.
    """

    home: str
    extra: str | None
    opened_from: OpenedFrom
    cached: bool = False
    options: tuple[str, ...] = ()
    waits: bool = False
    kinds: tuple[str, ...] = ("embedding",)
    precisions: tuple[str, ...] = ("float32",)


_BOTH = ("embedding", "reranker")
_GRAPHS = ("embedding", "reranker", "sparse", "multi_vector")

ENGINES = {
    "onnx": EngineEntry(
        "hotstart.engines.onnx:OnnxEngine",
        None,
        "artifact",
        kinds=_GRAPHS,
        precisions=("float32", "int8"),
    ),
    "openvino": EngineEntry(
        "hotstart.engines.openvino:OpenVinoEngine",
        "openvino",
        "artifact",
        cached=True,
        kinds=_GRAPHS,
        precisions=("float32", "bfloat16", "int8"),
    ),
    "torch": EngineEntry(
        "hotstart.engines.torch:TorchEngine",
        "torch",
        "folder",
        options=("device", "trust_remote_code", "kind", "max_length"),
        kinds=_BOTH,
    ),
    "static": EngineEntry("hotstart.engines.static:StaticEngine", "static", "folder"),
    "remote": EngineEntry(
        "hotstart.engines.remote.engine:RemoteEngine", "remote", "address", waits=True
    ),
    "fake": EngineEntry("hotstart.engines.fake:FakeEngine", None, "nothing"),
}

SCHEMES = {"openai": "remote", "tei": "remote", "hotstart": "remote", "fake": "fake"}
"""Engines by the scheme of a source; the scheme overrides the requested engine."""


def entry_of(name: str) -> EngineEntry:
    """Return the entry of the engine `name`.

    Raises:
        InvalidInput: there is no such engine.
    """
    try:
        return ENGINES[name]
    except KeyError:
        raise InvalidInput("engine", got=name, expected=f"one of {', '.join(ENGINES)}") from None


def engine_for(source: str, requested: str | None, kind: str = "embedding") -> str:
    """Return the name of the engine that runs the model `source` of `kind`.

    Raises:
        InvalidInput: the engine is unknown, or does not run this kind.
    """
    scheme, colon, _ = source.partition(":")
    name = requested or "onnx"
    if colon:
        name = SCHEMES.get(scheme, name)
    if kind not in entry_of(name).kinds:
        kinds = sorted({each for entry in ENGINES.values() for each in entry.kinds})
        if kind not in kinds:
            raise InvalidInput("kind", got=kind, expected=f"one of {', '.join(kinds)}")
        known = ", ".join(name for name, entry in ENGINES.items() if kind in entry.kinds)
        raise InvalidInput(
            "engine", got=name, expected=f"an engine for a model of kind {kind}: {known}"
        )
    return name


def engine_class(name: str) -> Callable[..., Engine]:
    """Import the engine `name` and return its class; the class imports its library when called."""
    return _imported(entry_of(name).home)


def _imported(home: str) -> Callable[..., Engine]:
    """Return the class `home`, written as `module:name`."""
    module, _, attribute = home.partition(":")
    loaded: Callable[..., Engine] = getattr(importlib.import_module(module), attribute)
    return loaded


_ROUTED = "hotstart.engines.composed:RoutedEngine"
"""What holds the engines of a model with a Router."""


def open_engine(
    name: str,
    prepared: PreparedModel,
    stage: Stage,
    threads: int,
    *,
    cache_folder: str | None = None,
    beside: Engine | None = None,
) -> Engine:
    """Load an artifact into an engine.

    Args:
        name: the name of an engine that opens artifacts.
        prepared: the artifact.
        stage: the stage to load to.
        threads: number of cores to use.
        cache_folder: folder for compiled models; None for no cache.
        beside: an engine of the same artifact that shares its tokenizer with the new engine.
    """
    options: dict[str, Any] = {}
    if entry_of(name).cached:
        options["cache_folder"] = cache_folder
    open_part = engine_class(name)
    if not prepared.routes:
        return open_part(prepared, stage, threads, beside=beside, **options)
    engines: list[Any] = []
    try:
        for number, part in enumerate(prepared.parts()):
            shared = None if beside is None else cast("Any", beside).engines[number]
            engines.append(open_part(part, stage, threads, beside=shared, **options))
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return _imported(_ROUTED)(engines, [(), *(route.tasks for route in prepared.routes)])
