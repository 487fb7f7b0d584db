"""Import third-party libraries at their first use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
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
