"""Text for a terminal, and what every command checks."""

from __future__ import annotations

import os
import re

from hotstart.errors import InvalidInput

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


def plural(count: int, noun: str) -> str:
    """Return count and noun, such as `1 chunk` or `2 chunks`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def check_folder(option: str, path: str) -> None:
    """Raise InvalidInput unless the folder of the file `path` exists."""
    if not os.path.isdir(os.path.dirname(os.path.abspath(path))):
        raise InvalidInput(option, got=path, expected="a file in a folder that is there")
