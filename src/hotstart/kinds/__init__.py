"""The table of model kinds and the protocol that each kind follows."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from hotstart.errors import InvalidInput
from hotstart.types import Progress

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class ModelSource(NamedTuple):
    """The source of a model in code or configuration.

    Attributes:
        name: name of the model, for messages.
        source: path, model name or import string, as its kind expects.
        sha256: SHA-256 of the file `source` in lower-case hexadecimal; required for a pickle.
        trusted: full names of types that a skops file may contain besides scikit-learn's.
        options: further options of the kind.
    """

    name: str
    source: str
    sha256: str | None = None
    trusted: Sequence[str] = ()
    options: Mapping[str, Any] = _NOTHING


class Kind(Protocol):
    """A module or object that loads and calls models of one kind. Thread-safe.

    Only one thread at a time calls `load` for one model.
    """

    def load(self, material: ModelSource, report: Progress) -> Any:
        """Return the loaded model; call `report` with each step.

        Raises:
            MissingExtra: the library of the kind is not installed.
            HotstartError: the model cannot be loaded.
        """

    def predict(self, model: Any, inputs: Any, material: ModelSource) -> Any:
        """Return the answer of the model to `inputs`; both are JSON values.

        Raises:
            InvalidInput: the model does not accept `inputs`.
        """


GROUP = "hotstart.kinds"
"""The entry point group in which other packages offer kinds of their own."""


class KindEntry(NamedTuple):
    """The location of a kind.

    Attributes:
        home: name of its module.
        suffixes: file endings of this kind in a models folder.
    """

    home: str
    suffixes: tuple[str, ...] = ()


KINDS = {
    "sklearn": KindEntry("hotstart.kinds.sklearn", (".skops", ".pkl", ".pickle", ".joblib")),
    "prophet": KindEntry("hotstart.kinds.prophet", (".json",)),
    "onnx": KindEntry("hotstart.kinds.onnx", (".onnx",)),
    "sentiment": KindEntry("hotstart.kinds.sentiment"),
    "custom": KindEntry("hotstart.kinds.custom"),
}


def kind_named(name: str) -> Kind:
    """Import and return the kind `name`, built in or of another package.

    Raises:
        InvalidInput: no kind has that name.
    """
    if name in KINDS:
        kind: Kind = importlib.import_module(KINDS[name].home)
        return kind
    others = importlib.metadata.entry_points(group=GROUP)
    for point in others:
        if point.name == name:
            offered: Kind = point.load()
            return offered
    known = ", ".join([*KINDS, *sorted(point.name for point in others)])
    raise InvalidInput("kind", got=name, expected=f"one of embedding, reranker, {known}")
