"""Third-party imports at their first use, and the package's face without its weight."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hotstart.errors import MissingExtra


@contextmanager
def brought_by(extra: str | None, library: str) -> Iterator[None]:
    """Raise MissingExtra, naming `extra`, where what is imported within finds no `library`.

    Only the absence of the library itself is translated: an ImportError from within an installed
    library is a fault of that installation and passes through unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise MissingExtra(library, extra=extra) from error


def require(module: str, *, extra: str | None = None) -> Any:
    """Import and return `module`; where its library is absent, raise MissingExtra as above."""
    with brought_by(extra, module.partition(".")[0]):
        return importlib.import_module(module)


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` (PEP 562) that imports each name's home when first asked.

    A home is a module, or `module:name` where the name is another one there.
    """

    def __getattr__(name: str) -> Any:
        try:
            home = homes[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        module, _, other = home.partition(":")
        value = getattr(importlib.import_module(module), other or name)
        setattr(importlib.import_module(package), name, value)
        return value

    return __getattr__
