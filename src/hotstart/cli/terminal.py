"""Text for a terminal, and what every command checks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from hotstart.config import allows_colours
from hotstart.errors import InvalidInput
from hotstart.files import write_whole

# C0 and C1 control characters, which a terminal may obey, and the marks that reverse the direction
# of what follows. Line feed and tab are text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return `text` with each control character as its escape, such as `\\x1b`.

    File names and contents may be anybody's. Printed as they are, they could move the cursor, hide
    lines or set the title.
    """
    return _CONTROL.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def columns() -> int:
    """Return the width of the terminal; 160 where there is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _ELSEWHERE
    except (OSError, ValueError):
        return _ELSEWHERE


_ELSEWHERE = 160  # columns; most lines of code are shorter


def has_colours(choice: str = "auto") -> bool:
    """Return whether standard output is coloured: `always`, `never`, or `auto` on a terminal."""
    if choice == "auto":
        return sys.stdout.isatty() and allows_colours()
    return choice == "always"


def plural(count: int, noun: str) -> str:
    """Return count and noun, such as `1 chunk` or `2 chunks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shown_path(path: str) -> str:
    """Return the absolute `path`, or the way to it from the current folder if that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Return `rows` as an aligned table below `head`, control characters as escapes.

    The last columns are left out where the table is wider than `width`.
    """
    shown = [[visible(cell) for cell in row] for row in rows]
    lines = [list(head), *shown] if any(head) else shown
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        del widths[-1]
    return "\n".join(
        "  ".join(cell.ljust(each) for cell, each in zip(line, widths, strict=False)).rstrip()
        for line in lines
    )


def file_size(count: int) -> str:
    """Return `count` bytes as text, for example 90.9 MB."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def check_output(option: str, path: str) -> None:
    """Raise InvalidInput if `path` cannot be the output file of `option`; `-` is none."""
    if path == "-" or not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise InvalidInput(option, got=path, expected="a file in a folder that is there")
    if os.path.isdir(path):
        raise InvalidInput(option, got=path, expected="a file, not a folder")


def write_output(path: str, content: bytes) -> None:
    """Write `content` to `path`: a regular file atomically, a pipe or a device as it is.

    A link stays, and its target is written.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as file:
            file.write(content)
    else:
        write_whole(target, content)
