"""The table of engines and the protocol that each engine follows."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hotstart.errors import InvalidInput

if TYPE_CHECKING:
    from hotstart.telemetry import Metric
    from hotstart.types import EngineOutput, PreparedModel, Stage


class Engine(Protocol):
    """A loaded model. Thread-safe.

    Attributes:
        name: key in `hotstart.engines.ENGINES`.
    """

    name: str

    @property
    def dimension(self) -> int:
        """Length of a vector; number of labels of a reranker."""

    def embed(
        self, texts: Sequence[Any], batch_size: int | None = None, timeout: float | None = None
    ) -> EngineOutput:
        """Return the vectors and token counts of `texts`.

        Args:
            texts: strings, or pairs of strings for a reranker, of valid Unicode; may be empty.
            batch_size: maximal number of texts in a batch; by default limited by a token budget.
            timeout: seconds within which a remote engine answers or raises; other engines ignore
                it.
        """

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return the tokens of each text, special tokens included; None if unknown."""

    def metrics(self) -> Iterable[Metric]:
        """Return the metrics of the engine."""

    def close(self) -> None:
        """Free the memory of the model. No call may run or follow."""


OpenedFrom = Literal["artifact", "folder", "address", "nothing"]


class EngineEntry(NamedTuple):
    """The facts of an engine that are known before its import.

    Attributes:
        home: class as `module:name`.
        extra: extra of hotstart with its library; None if every install has it.
        opened_from: argument of the class: an `artifact` (PreparedModel, Stage, threads), a model
            `folder`, the `address` of a remote server, or `nothing` but settings.
        cached: whether it stores compiled models in a `cache_folder`.
        options: fields of a ModelSpec that the class takes as keyword arguments.
        waits: whether its calls wait for a remote server, so that concurrent calls are useful.
        kinds: kinds of models that it runs, keys of `hotstart.models.spec.KINDS`.
    """

    home: str
    extra: str | None
    opened_from: OpenedFrom
    cached: bool = False
    options: tuple[str, ...] = ()
    waits: bool = False
    kinds: tuple[str, ...] = ("embedding",)


_GRAPHS = ("embedding", "reranker")

ENGINES = {
    "onnx": EngineEntry("hotstart.engines.onnx:OnnxEngine", None, "artifact", kinds=_GRAPHS),
    "openvino": EngineEntry(
        "hotstart.engines.openvino:OpenVinoEngine", "openvino", "artifact", True, kinds=_GRAPHS
    ),
    "torch": EngineEntry(
        "hotstart.engines.torch:TorchEngine",
        "torch",
        "folder",
        options=("device", "trust_remote_code"),
    ),
    "static": EngineEntry("hotstart.engines.static:StaticEngine", "static", "folder"),
    "remote": EngineEntry(
        "hotstart.engines.remote.engine:RemoteEngine", "remote", "address", waits=True
    ),
    "fake": EngineEntry("hotstart.engines.fake:FakeEngine", None, "nothing"),
}

SCHEMES = {"openai": "remote", "tei": "remote", "hotstart": "remote", "fake": "fake"}
"""The engine of a source that begins with one of these and a colon, whatever else is asked for."""


def entry_of(name: str) -> EngineEntry:
    """Return the entry of the engine `name`; raise InvalidInput for an unknown name."""
    try:
        return ENGINES[name]
    except KeyError:
        raise InvalidInput("engine", got=name, expected=f"one of {', '.join(ENGINES)}") from None


def engine_for(source: str, asked: str | None, kind: str = "embedding") -> str:
    """Return the name of the engine that runs `source`, a model of that kind.

    Raises:
        InvalidInput: the engine is unknown or does not run that kind.
    """
    scheme, colon, _ = source.partition(":")
    name = SCHEMES.get(scheme, asked or "onnx") if colon else asked or "onnx"
    if kind not in entry_of(name).kinds:
        able = ", ".join(name for name, entry in ENGINES.items() if kind in entry.kinds)
        raise InvalidInput(
            "engine", got=name, expected=f"an engine for a model of kind {kind}: {able}"
        )
    return name


def engine_class(name: str) -> Callable[..., Engine]:
    """Import the engine `name` and return its class; opening it imports its library."""
    module, _, attribute = entry_of(name).home.partition(":")
    found: Callable[..., Engine] = getattr(importlib.import_module(module), attribute)
    return found


def open_engine(
    name: str,
    prepared: PreparedModel,
    stage: Stage,
    threads: int,
    *,
    cache_folder: str | None = None,
    beside: Engine | None = None,
) -> Engine:
    """Load an artifact into the engine `name` at `stage`.

    Args:
        name: an engine that is opened from an artifact.
        prepared: the artifact.
        stage: the stage to load.
        threads: number of cores to use.
        cache_folder: folder for compiled models; None for no cache.
        beside: an engine of the same artifact; the new engine shares its tokenizer.
    """
    options: dict[str, Any] = {"beside": beside}
    if entry_of(name).cached:
        options["cache_folder"] = cache_folder
    return engine_class(name)(prepared, stage, threads, **options)
