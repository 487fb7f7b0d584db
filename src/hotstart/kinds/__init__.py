"""The table of model kinds and the protocol that each kind follows."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from hotstart.errors import InvalidInput
from hotstart.types import Progress

_NO_OPTIONS: Mapping[str, Any] = {}  # read-only by its type; a mappingproxy cannot be pickled


class ModelSource(NamedTuple):
    """The source of a model, as named in a program or its configuration.

    Attributes:
        name: name of the model, for messages.
        source: a path, a model name, or an import string, depending on the kind.
        sha256: SHA-256 of the file `source`, in lower-case hexadecimal; required for a pickle.
        trusted: full names of types that a skops file may contain besides scikit-learn's.
        options: further options; each kind documents its options.
    """

    name: str
    source: str
    sha256: str | None = None
    trusted: Sequence[str] = ()
    options: Mapping[str, Any] = _NO_OPTIONS


class Kind(Protocol):
    """A module or object that loads and calls models of one kind.

    Several threads may call both functions concurrently. Only one thread at a time calls `load` for
    one model.
    """

    def load(self, material: ModelSource, report: Progress) -> Any:
        """Return the loaded model; call `report` with each step of the load.

        Raises:
            MissingExtra: the library is not installed.
            HotstartError: the model cannot be loaded.
        """

    def predict(self, model: Any, inputs: Any, material: ModelSource) -> Any:
        """Return the model's output for `inputs`; both are JSON values.

        Raises:
            InvalidInput: the model does not accept `inputs`.
        """


GROUP = "hotstart.kinds"
"""The entry point group for kinds of other packages."""


class KindEntry(NamedTuple):
    """The location of a kind.

    Attributes:
        home: the kind's module.
        suffixes: suffixes of this kind's files in a models folder.
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
    """Import and return the kind `name`, from hotstart or another package.

    Raises:
        InvalidInput: there is no kind of that name.
    """
    if name in KINDS:
        kind: Kind = importlib.import_module(KINDS[name].home)
        return kind
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        if entry_point.name == name:
            external_kind: Kind = entry_point.load()
            return external_kind
    raise _no_kind(name)


def check_kind(name: str) -> None:
    """Raise InvalidInput if no kind has this name. Imports no kind."""
    if name not in {*_OF_TEXTS, *KINDS} and name not in _external():
        raise _no_kind(name)


_OF_TEXTS = ("embedding", "reranker")


def _external() -> list[str]:
    return sorted(point.name for point in importlib.metadata.entry_points(group=GROUP))


def _no_kind(name: str) -> InvalidInput:
    known = ", ".join([*_OF_TEXTS, *KINDS, *_external()])
    served = " (a program calls Embedder.encode_sparse)" if name == "sparse" else ""
    served = " (a program calls Embedder.encode_multi_vector)" if name == "multi_vector" else served
    return InvalidInput("kind", got=name, expected=f"one of {known}{served}")
