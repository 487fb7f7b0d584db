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
    """The source of a model, as a program or its configuration names it.

    Attributes:
        name: what the model is called, for messages.
        source: a path, a model's name, or an import string, as its kind takes it.
        sha256: of the file `source`, lower-case hexadecimal; what alone lets a pickle be loaded.
        trusted: full names of the types that a skops file may bring besides scikit-learn's.
        options: what else the kind takes; each says which.
    """

    name: str
    source: str
    sha256: str | None = None
    trusted: Sequence[str] = ()
    options: Mapping[str, Any] = _NOTHING


class Kind(Protocol):
    """A module, or any object, that loads and calls models of one kind.

    Both may be called by several threads at once, `load` for one model by one thread at a time.
    """

    def load(self, material: ModelSource, report: Progress) -> Any:
        """Return the loaded model, having told `report` what is being done.

        Raises:
            MissingExtra: its library is not installed.
            HotstartError: the model cannot be loaded.
        """

    def predict(self, model: Any, inputs: Any, material: ModelSource) -> Any:
        """Return the model's answer to `inputs`, both of what JSON can say.

        Raises:
            InvalidInput: it cannot be asked that.
        """


GROUP = "hotstart.kinds"
"""The entry point group in which other packages offer kinds of their own."""


class KindEntry(NamedTuple):
    """The location of a kind.

    Attributes:
        home: its module.
        suffixes: of the files in a models folder that are of this kind.
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
    """Import the kind called `name`, one of these or another package's, and return it.

    Raises:
        InvalidInput: there is none of that name.
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
