"""Which calls run together: lanes as data, and what of a lane's queue makes the next run. Pure.

A question never waits behind bulk work: each lane is served by threads of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

_CHARACTERS = 4  # of a token, about, in English
_SPECIAL = 2  # tokens put around a text
_LONGEST = 512  # tokens: most models cut a text there


class Lane(NamedTuple):
    """One queue of a model.

    Attributes:
        name: what it is for.
        most_texts: of a call that may take it.
        most_tokens: of such a call, about.
        run: tokens of one run, about; a single text may exceed them.
        room: tokens that may wait in it, about.
        threads: runs at a time. Two keep two parts of a processor busy without waiting for one
            another: 27 % more short texts a second than one after the other on OpenVINO.
    """

    name: str
    most_texts: float
    most_tokens: float
    run: int
    room: int
    threads: int = 2


LANES = (
    Lane("interactive", most_texts=8, most_tokens=512, run=1024, room=128 * 1024),
    Lane("bulk", most_texts=float("inf"), most_tokens=float("inf"), run=4096, room=1024 * 1024),
)
"""A call takes the first that it fits. A run of bulk work is what keeps two cores busy for a third
of a second: the engine packs it by length, and between two runs what nobody awaits is dropped."""


class Share(NamedTuple):
    """The texts `start` to `stop` of a queue's call number `call`, which run next."""

    call: int
    start: int
    stop: int


def estimated_tokens(text: str | tuple[str, str]) -> int:
    """Return about how many tokens a text, or a pair of texts, takes."""
    characters = len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
    return min(characters // _CHARACTERS + _SPECIAL, _LONGEST)


def lane_for(texts: int, tokens: int) -> Lane:
    """Return the lane of a call of so many texts, and of about so many tokens."""
    return next(lane for lane in LANES if texts <= lane.most_texts and tokens <= lane.most_tokens)


def next_run(queue: Iterable[tuple[Sequence[int], int]], budget: int) -> list[Share]:
    """Return what runs next: texts in the order they came, one at least, of `budget` tokens.

    Part of a call may run before the rest of it.

    Args:
        queue: of each call the tokens of its texts, about, and how many of them have run.
        budget: in tokens.
    """
    shares: list[Share] = []
    left = budget
    for number, (tokens, begun) in enumerate(queue):
        stop = begun
        while stop < len(tokens) and (tokens[stop] <= left or left == budget):
            left -= tokens[stop]
            stop += 1
        if stop > begun:
            shares.append(Share(number, begun, stop))
        if stop < len(tokens):
            break
    return shares
