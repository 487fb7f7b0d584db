"""Activation: how likely a file is wanted again, from its uses and from those of linked files.

The memory model of ACT-R: a use fades with a power of its age, many uses add up, and a share of
each passes on to the files that the used one is linked with. A file without uses and without used
neighbours has no activation, so that a folder without history ranks by its contents alone.

Anderson, "How can the human mind occur in the physical universe?", 2007, chapter 3.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MOST_EXACT = 10
"""Latest uses whose times are kept; those before are approximated."""

_DECAY = 0.5  # d, of all models of ACT-R
_LEAST_AGE = 0.05  # seconds; a use of this moment would be infinitely strong
_SPREAD = 0.5  # of a use, divided among the neighbours of the file
_THRESHOLD = -5.0  # base level of a file that was used once, 6 hours ago
_NOISE = 0.5  # how gently the probability falls around the threshold


class UseHistory(NamedTuple):
    """The history of a file.

    Attributes:
        latest: times of the latest uses, the newest first, in seconds since 1970.
        number: how many uses there were in all.
        first: time of the first use.
    """

    latest: tuple[float, ...]
    number: int
    first: float


def with_use(uses: UseHistory | None, time: float) -> UseHistory:
    """Return `uses` and one more at `time`."""
    if uses is None:
        return UseHistory((time,), 1, time)
    latest = sorted((time, *uses.latest), reverse=True)[:MOST_EXACT]
    return UseHistory(tuple(latest), uses.number + 1, min(uses.first, time))


def base_level(uses: UseHistory, now: float) -> float:
    """Return the base-level activation at `now`: ln Σ age^-d over all uses.

    The uses before the latest ones count as spread evenly from the first one on: Petrov,
    "Computationally efficient approximation of the base-level learning equation in ACT-R", ICCM
    2006; its error: Fisher, Houpt and Gunzelmann, "A fast approximation of the base-level
    learning equation", 2018.
    """
    return math.log(_strength(uses, now))


def _strength(uses: UseHistory, now: float) -> float:
    ages = [max(now - time, _LEAST_AGE) for time in uses.latest]
    total = math.fsum(age**-_DECAY for age in ages)
    earlier = uses.number - len(ages)
    oldest = max(now - uses.first, _LEAST_AGE)
    if earlier > 0:
        span = oldest - ages[-1]
        rest = 1 - _DECAY
        if span > 0:
            total += earlier * (oldest**rest - ages[-1] ** rest) / (rest * span)
        else:
            total += earlier * oldest**-_DECAY
    return total


def recall_probability(activation: float) -> float:
    """Return the probability that a memory of this activation is recalled, from 0 to 1."""
    return 1 / (1 + math.exp((_THRESHOLD - activation) / _NOISE))


def activations(
    uses: Mapping[str, UseHistory], links: Iterable[tuple[str, str]], now: float
) -> dict[str, float]:
    """Return how likely each file is wanted at `now`, from 0 to 1, by its path.

    Args:
        uses: the history of each file that has one.
        links: pairs of linked files, in either direction.
        now: seconds since 1970.
    """
    own = {path: _strength(history, now) for path, history in uses.items()}
    neighbours: dict[str, set[str]] = defaultdict(set)
    for one, other in links:
        neighbours[one].add(other)
        neighbours[other].add(one)
    strengths = defaultdict(float, own)
    for path, strength in own.items():
        for other in neighbours[path]:
            strengths[other] += _SPREAD * strength / len(neighbours[path])
    return {path: recall_probability(math.log(each)) for path, each in strengths.items()}
