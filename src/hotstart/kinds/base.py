"""What a kind of model promises: how it is loaded, and how it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from hotstart.types import Progress

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Material(NamedTuple):
    """What a model is made from, as a program or its configuration names it.

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
    """A module, or any object, that loads models of one kind and asks them.

    Both may be called by several threads at once, `load` for one model by one thread at a time.
    """

    def load(self, material: Material, report: Progress) -> Any:
        """Return the loaded model, having told `report` what is being done.

        Raises:
            MissingExtra: its library is not installed.
            HotstartError: the model cannot be loaded, for the reason it states.
        """

    def predict(self, model: Any, inputs: Any, material: Material) -> Any:
        """Return the model's answer to `inputs`, both of what JSON can say.

        Raises:
            InvalidInput: it cannot be asked that.
        """
