"""Import third-party libraries at their first use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hotstart.errors import MissingExtra


@contextmanager
def brought_by(extra: str | None, library: str) -> Iterator[None]:
    """Raise MissingExtra with `extra` where an import in the block does not find `library`.

    Only the absence of the library is translated. An ImportError inside an installed library is a
    fault of that installation and is raised unchanged.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise MissingExtra(library, extra=extra) from error


def require(module: str, *, extra: str | None = None) -> Any:
    """Import and return `module`; raise MissingExtra if its library is not installed."""
    with brought_by(extra, module.partition(".")[0]):
        return importlib.import_module(module)
