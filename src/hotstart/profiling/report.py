"""What was found, as one value: what every way of showing it reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from hotstart.profiling.stages import Stage

FORMAT = 1


class Advice(NamedTuple):
    """What would make it faster.

    Attributes:
        finding: what is the case.
        remedy: what to do about it.
        saves_ms: measured, None where that cannot be.
    """

    name: str
    finding: str
    remedy: str
    saves_ms: float | None


class Peer(NamedTuple):
    """Another library over the same model; `ratio` is its total over hotstart's."""

    name: str
    total_ms: float
    ratio: float
    stages: list[Stage]


class Report(NamedTuple):
    """A profile of one model under one strategy; times are medians of `runs` processes.

    Attributes:
        totals_ms: from the start of each process to its first vector.
        total_ms: their median.
        first_run_ms: the same of a first process, which is not among them: it may have had to
            prepare the model, compile bytecode and read from the disk.
        constructor_ms: of `Embedder(...)`.
        second_inference_ms: of the same text, at once after the first.
        beside: milliseconds of the stages that were loaded beside the work, after the first vector.
    """

    model: str
    strategy: str
    engine: str
    python: str
    cores: int
    runs: int
    totals_ms: list[float]
    total_ms: float
    first_run_ms: float
    constructor_ms: float
    second_inference_ms: float
    stages: list[Stage]
    beside: dict[str, float]
    advice: list[Advice]
    against: Peer | None = None

    @property
    def imports(self) -> dict[str, float]:
        """Milliseconds by imported package, the longest first."""
        totals: dict[str, float] = {}
        for stage in self.stages:
            if stage.name.startswith("import "):
                package = stage.name.removeprefix("import ")
                totals[package] = totals.get(package, 0.0) + stage.ms
        return dict(sorted(totals.items(), key=lambda item: -item[1]))

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        content = self._asdict() | {
            "format": FORMAT,
            "imports": self.imports,
            "stages": [stage._asdict() for stage in self.stages],
            "advice": [advice._asdict() for advice in self.advice],
        }
        if self.against:
            content["against"] = self.against._asdict() | {
                "stages": [stage._asdict() for stage in self.against.stages]
            }
        return content
