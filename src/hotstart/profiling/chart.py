"""The report as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from hotstart.profiling.report import Report
from hotstart.profiling.stages import Stage

_WIDTH = 80
_NAME = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


def chart(report: Report, width: int = _WIDTH) -> str:
    """Return the report in lines of at most `width` columns, but for a longer word."""
    width = max(56, width)
    return "\n".join(line.rstrip() for line in _lines(report, width))


def _lines(report: Report, width: int) -> Iterator[str]:
    low, high = min(report.totals_ms), max(report.totals_ms)
    yield f"First vector in {report.total_ms:.1f} ms ({low:.1f} to {high:.1f})"
    yield from _fold(
        f"{report.model}, strategy {report.strategy}, engine {report.engine}, "
        f"Python {report.python}, {report.cores} cores, median of {report.runs} processes",
        width,
    )
    yield ""
    yield from _bars(report.stages, report.total_ms, width)
    yield ""
    imports = ", ".join(f"{package} {ms:.1f}" for package, ms in report.imports.items())
    yield from _fold(f"imports: {imports} ms", width)
    yield (
        f"constructor {report.constructor_ms:.1f} ms, the same text again "
        f"{report.second_inference_ms:.1f} ms"
    )
    for stage, ms in report.beside.items():
        yield f"loaded beside the work, after the first vector: {stage} {ms:.1f} ms"
    peer = report.against
    if peer:
        yield ""
        yield f"{peer.name}: {peer.total_ms:.0f} ms, {peer.ratio:.1f} times as long"
        yield from _bars(peer.stages, peer.total_ms, width)
    yield ""
    if not report.advice:
        yield "Nothing is known that would make it faster."
    for advice in report.advice:
        saved = "not measured" if advice.saves_ms is None else f"saves {advice.saves_ms:.0f} ms"
        yield from _fold(f"{saved}: {advice.finding}. {advice.remedy}.", width, "• ")


def _bars(stages: Sequence[Stage], total_ms: float, width: int) -> Iterator[str]:
    """Each stage where it lies on the way: blanks up to its start, then its bar."""
    room = width - _NAME - 19
    end = max((stage.start_ms + stage.ms for stage in stages), default=0.0) or 1.0
    for stage in stages:
        before = stage.start_ms / end * room
        bar = _bar(before, stage.ms / end * room)
        name = stage.name if len(stage.name) <= _NAME else stage.name[: _NAME - 1] + "…"
        share = stage.ms / total_ms
        yield f"{name:<{_NAME}} {stage.ms:8.1f} ms {share:4.0%} {bar}"


def _bar(before: float, length: float) -> str:
    """A bar from the column where it starts, at least an eighth of one long."""
    eighths = max(1, round(length * 8))
    return " " * int(before) + "█" * (eighths // 8) + _EIGHTHS[eighths % 8]


def _fold(text: str, width: int, bullet: str = "") -> list[str]:
    """Lines of `text`; a word, which may be a path to be copied, is never divided."""
    return wrap(
        text,
        width,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )
