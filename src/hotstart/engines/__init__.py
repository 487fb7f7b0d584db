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
    """A loaded model. Safe to call from several threads at once.

    Attributes:
        name: its key in `hotstart.engines.ENGINES`.
    """

    name: str

    @property
    def dimension(self) -> int:
        """Length of a vector; of a reranker, how many labels it has."""

    def embed(
        self, texts: Sequence[Any], batch_size: int | None = None, timeout: float | None = None
    ) -> EngineOutput:
        """Return the vectors of `texts` with the tokens run for each.

        Args:
            texts: valid Unicode, str or, of a reranker, pairs of str; may be empty strings, and
                may be none at all.
            batch_size: the most texts run together; by default as many as a token budget allows.
            timeout: seconds within which an engine that asks another machine answers or raises;
                one that computes here takes the time it takes.
        """

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return how many tokens of each text are run, special tokens included; None if it cannot
        tell."""

    def metrics(self) -> Iterable[Metric]:
        """Return what the engine counts, if anything."""

    def close(self) -> None:
        """Give the model's memory back. No call may be running, and none may follow."""


OpenedFrom = Literal["artifact", "folder", "address", "nothing"]


class EngineEntry(NamedTuple):
    """What is known of an engine before it is imported.

    Attributes:
        home: its class, as `module:name`.
        extra: the extra of hotstart that brings its library, None if every install has it.
        opened_from: what its class is called with: an `artifact` (Prepared, Stage, threads), a
            model's own `folder`, the `address` of another machine, or `nothing` of a model, but
            settings.
        cached: whether it keeps what it compiles, in a `cache_folder`.
        options: fields of a ModelSpec that its class takes as keyword arguments.
        waits: whether its calls wait for another machine, so that many at a time pay.
        kinds: of models that it runs, keys of `hotstart.models.spec.KINDS`.
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
    """Return what is known of the engine called `name`; InvalidInput where there is none."""
    try:
        return ENGINES[name]
    except KeyError:
        raise InvalidInput("engine", got=name, expected=f"one of {', '.join(ENGINES)}") from None


def engine_for(source: str, asked: str | None, kind: str = "embedding") -> str:
    """Return the name of the engine that runs `source`, a model of that kind.

    Raises:
        InvalidInput: an engine unknown, or one that does not run that kind.
    """
    scheme, colon, _ = source.partition(":")
    name = SCHEMES.get(scheme, asked or "onnx") if colon else asked or "onnx"
    if kind not in entry_of(name).kinds:
        able = ", ".join(name for name, entry in ENGINES.items() if kind in entry.kinds)
        raise InvalidInput("engine", got=name, expected=f"one that runs a {kind}: {able}")
    return name


def engine_class(name: str) -> Callable[..., Engine]:
    """Import the engine called `name` and return its class; its library is imported on opening."""
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
    """Load an artifact as far as `stage` into the engine called `name`, to use `threads` cores.

    Args:
        name: an engine that is opened from an artifact.
        prepared: the artifact.
        stage: how far to load.
        threads: cores to use.
        cache_folder: where an engine that compiles keeps the outcome; None: nowhere.
        beside: an engine of the same artifact, whose tokenizer the new one shares.
    """
    options: dict[str, Any] = {"beside": beside}
    if entry_of(name).cached:
        options["cache_folder"] = cache_folder
    return engine_class(name)(prepared, stage, threads, **options)
