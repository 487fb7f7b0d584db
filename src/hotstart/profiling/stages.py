"""From runs to stages: medians, and the imports told apart from the work they stand before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Literal, NamedTuple

from hotstart.profiling.importtime import import_times
from hotstart.profiling.runs import Run

Kind = Literal["interpreter", "import", "load", "inference"]


class Stage(NamedTuple):
    """One stretch of the way to the first vector, in milliseconds."""

    name: str
    kind: Kind
    start_ms: float
    ms: float


PREPARING = {"locating", "weights", "checksums", "placing", "prepared", "downloading", "measuring"}
"""What a load reports that had to prepare the model first."""

_NAMES: dict[str, tuple[str, Kind]] = {
    "spawn": ("interpreter", "interpreter"),
    "start": ("imports, the rest", "import"),
    "imported": ("constructor", "load"),
    "metadata": ("metadata", "load"),
    "tokenizer": ("tokenizer", "load"),
    "first light": ("session", "load"),
    "full": ("session", "load"),
    "ready": ("first inference", "inference"),
}
_PEER_NAMES: dict[str, tuple[str, Kind]] = {
    "start": ("import", "import"),
    "imported": ("load", "load"),
}
_AFTER = {"import tokenizers", "tokenizer"}  # an engine opens its session first
_SLIVER = 0.0005  # seconds of imports below which they are not told apart from the work


def account(plain: Sequence[Run], watched: Sequence[Run]) -> list[Stage]:
    """Return the stages in the order they were passed.

    Times are medians of `plain`. The runs under -X importtime, `watched`, are slower: of them the
    shares of each interval are taken, not the times.
    """
    shares = _shares(watched)
    pieces: list[tuple[str, Kind, float]] = []
    for mark, seconds in medians([run.intervals for run in plain]).items():
        name, kind = _NAMES.get(mark, ("preparing" if mark in PREPARING else mark, "load"))
        own, at = seconds, len(pieces)
        for what, share in shares.get(mark, {}).items():
            part = min(own, share * seconds)
            if part >= _SLIVER:
                pieces.append((what, "load" if what == "tokenizer" else "import", part))
                own -= part
        before = [piece for piece in pieces[at:] if piece[0] not in _AFTER and mark != "spawn"]
        after = [piece for piece in pieces[at:] if piece not in before]
        pieces[at:] = [*before, (name, kind, own), *after]
    return _in_a_row(pieces)


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each figure that every sample has, in the order of the last."""
    common = [name for name in samples[-1] if all(name in sample for sample in samples)]
    return {name: median(sample[name] for sample in samples) for name in common}


def of_a_peer(intervals: Mapping[str, float]) -> list[Stage]:
    """Return the intervals of another library as stages: its imports, its load, its first text."""
    names = _NAMES | _PEER_NAMES
    return _in_a_row([(*names[mark], seconds) for mark, seconds in intervals.items()])


def _shares(watched: Sequence[Run]) -> dict[str, dict[str, float]]:
    """By mark: the share of its interval that each package's imports, and the tokenizer, took."""
    found: list[dict[tuple[str, str], float]] = []
    for run in watched:
        intervals, parts = run.intervals, {}
        for mark, packages in import_times(run.log).items():
            for package, seconds in packages.items():
                if mark in intervals and not (mark == "spawn" and package == "standard library"):
                    parts[mark, f"import {package}"] = seconds / intervals[mark]
        if run.found.get("tokenizer"):
            mark = next(name for name in ("full", "first light") if name in intervals)
            parts[mark, "tokenizer"] = run.found["tokenizer"] / intervals[mark]
        found.append(parts)
    shares: dict[str, dict[str, float]] = {}
    for key in {key: None for parts in found for key in parts}:
        mark, what = key
        shares.setdefault(mark, {})[what] = median(parts.get(key, 0.0) for parts in found)
    return shares


def _in_a_row(pieces: Sequence[tuple[str, Kind, float]]) -> list[Stage]:
    """Stages one after the other; neighbours of one name are one."""
    stages: list[Stage] = []
    now = 0.0
    for name, kind, seconds in pieces:
        if stages and stages[-1].name == name:
            stages[-1] = stages[-1]._replace(ms=stages[-1].ms + 1000 * seconds)
        else:
            stages.append(Stage(name, kind, 1000 * now, 1000 * seconds))
        now += seconds
    return stages
