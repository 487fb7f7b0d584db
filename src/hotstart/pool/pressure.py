"""Which models go when memory is wanted. Pure: what runs goes in, what is to be unloaded comes out.

Idle models only, the least recently used first, and never a pinned one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import NamedTuple


class Resident(NamedTuple):
    """A loaded model.

    Attributes:
        key: what it is called in its pool.
        bytes: of memory that unloading it gives back, as far as known.
        last_used: a time; the smaller, the longer ago.
        in_use: calls that are using it now.
        pinned: whether it stays whatever happens.
    """

    key: Hashable
    bytes: int
    last_used: float
    in_use: int
    pinned: bool


def victims(residents: Iterable[Resident], wanted: int) -> list[Resident]:
    """Return what to unload, in this order, to have `wanted` bytes, and no more than that.

    All that may go at all where that is less than `wanted`; nothing where none are wanted.
    """
    may_go = (r for r in residents if not r.in_use and not r.pinned and r.bytes > 0)
    chosen: list[Resident] = []
    for resident in sorted(may_go, key=lambda r: r.last_used):
        if wanted <= 0:
            break
        chosen.append(resident)
        wanted -= resident.bytes
    return chosen
