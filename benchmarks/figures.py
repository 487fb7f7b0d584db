"""The figures, how each is read, and what hotstart promises of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.first_light import Outcome
from benchmarks.measure import Summary, summary
from benchmarks.peers import FLOOR, IDLE_LOOP, PLAIN, REFERENCE, SUBJECT


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        scale: what a value is multiplied with to be shown in `unit`.
        better: `less`, `more`, or `same` for one that has no ratio.
        noise: the least value that a ratio is taken of; what is less is lost in the noise.
    """

    key: str
    title: str
    unit: str
    scale: float
    form: str
    better: str
    noise: float = 0.0

    def shown(self, value: float) -> str:
        """Return `value` with its unit."""
        return f"{value * self.scale:{self.form}} {self.unit}".rstrip()


FIGURES = (
    Figure("first_vector", "Process start to first vector", "s", 1, ".3f", "less"),
    Figure("peak_memory", "Peak memory to first vector", "MB", 1e-6, ".0f", "less"),
    Figure("private_memory", "Of it private, not mapped files", "MB", 1e-6, ".0f", "less"),
    Figure("import", "Import, over bare Python", "ms", 1e3, ".0f", "less", noise=1e-4),
    Figure("latency", "One short text, warm", "ms", 1e3, ".2f", "less"),
    Figure("throughput", "512 texts of about 122 tokens", "texts/s", 1, ".0f", "more"),
    Figure("serving_memory", "Peak memory while serving them", "MB", 1e-6, ".0f", "less"),
    Figure("cosine_min", "Lowest cosine to the reference", "", 1, ".7f", "same"),
    Figure("cosine_mean", "Mean cosine to the reference", "", 1, ".7f", "same"),
)


@dataclass(frozen=True)
class Cell:
    """One figure of one peer.

    Attributes:
        ratio: how many times better than the reference, by medians; None where there is none.
        ratio_least: the same within the round where it was least.
        ratio_greatest: the same within the round where it was greatest.
    """

    value: Summary
    ratio: float | None = None
    ratio_least: float | None = None
    ratio_greatest: float | None = None


Table = dict[str, dict[str, Cell]]
"""Figure → peer → cell."""


def tabulate(
    outcome: Outcome, figures: Sequence[Figure] = FIGURES, beside: str = REFERENCE
) -> Table:
    """Return every measured figure of every peer with its ratio to the peer `beside`.

    A peer that failed in some round keeps the rounds before it, but has no ratio there, because
    its rounds are no longer those of the reference. What embeds nothing has none.
    """
    table: Table = {}
    for figure in figures:
        samples = outcome.samples.get(figure.key, {})
        reference = samples.get(beside, [])
        table[figure.key] = {
            peer: _cell(figure, values, [] if peer in {FLOOR, IDLE_LOOP} else reference)
            for peer, values in samples.items()
        }
    return table


def _cell(figure: Figure, values: list[float], reference: list[float]) -> Cell:
    value = summary(values)
    if figure.better == "same" or not reference or len(values) != len(reference):
        return Cell(value)
    pairs = list(zip(values, reference, strict=True))
    rounds = [_ratio(figure, own, other) for own, other in pairs]
    ratio = _ratio(figure, value.median, summary(reference).median)
    return Cell(value, ratio, min(rounds), max(rounds))


def _ratio(figure: Figure, own: float, other: float) -> float:
    """How many times better `own` is."""
    if figure.better == "more":
        return own / other
    return other / max(own, figure.noise)


@dataclass(frozen=True)
class Promise:
    """What hotstart promises: a figure's ratio, or its value where it has none, is `bound` or more.

    Held to the value means held to its worst round.
    """

    figure: str
    bound: float
    text: str
    peer: str = SUBJECT


PROMISES = (
    Promise("first_vector", 60, "first vector as a list at least 60 times sooner", PLAIN),
    Promise("first_vector", 45, "first vector as an array at least 45 times sooner"),
    Promise("peak_memory", 5, "peak memory at most a fifth", PLAIN),
    Promise("cosine_min", 0.9999, "cosine at least 0.9999"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a promise was kept; `found` is None where it could not be measured."""

    promise: Promise
    found: float | None

    @property
    def kept(self) -> bool:
        """Whether it was measured and kept."""
        return self.found is not None and self.found >= self.promise.bound

    def __str__(self) -> str:
        word = "KEPT  " if self.kept else "BROKEN"
        found = "not measured" if self.found is None else f"{self.found:.7g}"
        return f"{word} {self.promise.text}: {found}"


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise."""
    return [Verdict(promise, _found(table, promise)) for promise in PROMISES]


def _found(table: Table, promise: Promise) -> float | None:
    cells = table[promise.figure]
    cell = cells.get(promise.peer)
    if cell is None or REFERENCE not in cells:
        return None
    return cell.value.least if promise.figure.startswith("cosine") else cell.ratio
