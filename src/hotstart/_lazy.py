"""Third-party imports at their first use, and the package's face without its weight."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from hotstart.errors import MissingExtra


def require(module: str, *, extra: str | None = None) -> Any:
    """Import and return `module`; where it is absent, raise MissingExtra naming `extra`.

    Only the absence of the library itself is translated: an ImportError from within an installed
    library is a fault of that installation and passes through unchanged.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise MissingExtra(top, extra=extra) from error


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` (PEP 562) that imports each name's home when first asked."""

    def __getattr__(name: str) -> Any:
        try:
            home = homes[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        value = getattr(importlib.import_module(home), name)
        setattr(importlib.import_module(package), name, value)
        return value

    return __getattr__
