"""What can be embedded: Unicode text, and nothing that only looks like it."""

from __future__ import annotations

from collections.abc import Sequence

from hotstart.errors import InvalidInput, InvalidText


def check_texts(inputs: Sequence[str], first: int = 0) -> Sequence[str]:
    """Return `inputs`, or raise InvalidText for the first that is none, counted from `first`."""
    if isinstance(inputs, (bytes, bytearray)) or not hasattr(inputs, "__getitem__"):
        raise InvalidInput("inputs", got=inputs, expected="a string, or a list of strings")
    for position, text in enumerate(inputs, first):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InvalidText(position, reason=f"it is {kind}, not str", remedy="Pass strings")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidText(
                    position,
                    reason=f"character {error.start} is a lone surrogate, which is no Unicode text",
                    remedy="Decode the text anew, or encode it with errors='replace'",
                ) from None
    return inputs
