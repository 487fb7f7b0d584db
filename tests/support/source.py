"""The source of the package as syntax trees."""

from __future__ import annotations

import ast
import functools
from pathlib import Path


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    CPython 3.11 raises SystemError where a finalizer lets another thread parse (gh-106905).
    """
    source = path.read_text(encoding="utf-8")
    for _ in range(5):
        try:
            return ast.parse(source)
        except SystemError:
            continue
    return ast.parse(source)
