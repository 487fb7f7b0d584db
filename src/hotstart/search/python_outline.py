"""The outline of a Python module: its definitions and those of its classes."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence

Heading = tuple[str, ...]
"""A section's place in its text, outermost first: ("class Pool", "def instance")."""

Outline = dict[int, Heading]
"""The heading of each section by the line, counted from 0, at which it begins."""


def python_outline(lines: list[str]) -> Outline | None:
    """Return the outline of the module with these `lines`; None where they are not Python.

    Decorators and the comments right above belong to a definition. What follows it and is none
    itself begins a section of what holds it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the text's own doubtful escapes, not of ours
            tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    outline: Outline = {}
    _mark(tree.body, (), 0, lines, outline)
    return outline


def _mark(
    body: Sequence[ast.stmt],
    holder: Heading,
    floor: int,
    lines: list[str],
    outline: Outline,
) -> None:
    """Enter the definitions in `body`, the statements of `holder`, whose text starts at `floor`."""
    for node in body:
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1
            while start > floor and lines[start - 1].lstrip().startswith("#"):
                start -= 1
            is_class = isinstance(node, ast.ClassDef)
            heading = (*holder, f"{'class' if is_class else 'def'} {node.name}")
            outline[start] = heading
            if is_class and not holder:
                _mark(node.body, heading, node.lineno, lines, outline)
            if end < len(lines):
                outline[end] = holder
        floor = end
