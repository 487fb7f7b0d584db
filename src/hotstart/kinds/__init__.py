"""The kinds of models besides those that embed and rank, which `hotstart.pool` loads itself."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import NamedTuple

from hotstart.errors import InvalidInput
from hotstart.kinds.base import Kind

GROUP = "hotstart.kinds"
"""The entry point group in which other packages offer kinds of their own."""


class Entry(NamedTuple):
    """A kind, by where it is.

    Attributes:
        home: its module.
        suffixes: of the files in a models folder that are of this kind.
    """

    home: str
    suffixes: tuple[str, ...] = ()


KINDS = {
    "sklearn": Entry("hotstart.kinds.sklearn", (".skops", ".pkl", ".pickle", ".joblib")),
    "prophet": Entry("hotstart.kinds.prophet", (".json",)),
    "onnx": Entry("hotstart.kinds.onnx", (".onnx",)),
    "sentiment": Entry("hotstart.kinds.sentiment"),
    "custom": Entry("hotstart.kinds.custom"),
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
