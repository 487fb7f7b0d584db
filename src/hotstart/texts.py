"""What a model can be asked: Unicode text, and nothing that only looks like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hotstart.errors import InvalidInput, InvalidText


class Fault(NamedTuple):
    """Why something is no text, and what to do about it."""

    reason: str
    remedy: str


def check_texts(inputs: Sequence[str], first: int = 0) -> Sequence[str]:
    """Return `inputs`, or raise InvalidText for the first that is none, counted from `first`."""
    if isinstance(inputs, (bytes, bytearray)) or not hasattr(inputs, "__getitem__"):
        raise InvalidInput("inputs", got=inputs, expected="a string, or a list of strings")
    for position, text in enumerate(inputs, first):
        fault = _fault(text)
        if fault is not None:
            raise InvalidText(position, reason=fault.reason, remedy=fault.remedy)
    return inputs


def check_pairs(inputs: Sequence[Any]) -> list[tuple[str, str]]:
    """Return `inputs` as pairs of texts, or raise InvalidText for the first that is none."""
    pairs = []
    for position, pair in enumerate(inputs):
        if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
            reason = f"it is {_shortly(pair)}, not two texts"
            raise InvalidText(position, reason=reason, remedy="Pass pairs of strings")
        left, right = pair
        for name, text in (("first", left), ("second", right)):
            fault = _fault(text)
            if fault is not None:
                reason = f"of its {name} text, {fault.reason}"
                raise InvalidText(position, reason=reason, remedy=fault.remedy)
        pairs.append((left, right))
    return pairs


def _fault(text: object) -> Fault | None:
    """What is wrong with `text`, None where it can be embedded."""
    if not isinstance(text, str):
        return Fault(f"it is {type(text).__name__}, not str", "Pass strings")
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Fault(
            f"character {error.start} is a lone surrogate, which is no Unicode text",
            "Decode the text anew, or encode it with errors='replace'",
        )
    return None


def _shortly(value: object) -> str:
    length = f" of {len(value)}" if isinstance(value, (list, tuple)) else ""
    return f"{type(value).__name__}{length}"
