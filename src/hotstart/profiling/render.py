"""Render a profile report as text and as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from textwrap import wrap

from hotstart.profiling.report import Advice, Peer, Report
from hotstart.profiling.stages import StageTime

_WIDTH = 80
_NAME = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"


def chart(report: Report, width: int = _WIDTH) -> str:
    """Return the report in lines of at most `width` columns, but for a longer word."""
    width = max(56, width)
    return "\n".join(line.rstrip() for line in _lines(report, width))


def _lines(report: Report, width: int) -> Iterator[str]:
    low = min(report.totals_ms)
    high = max(report.totals_ms)
    processes = "1 process" if report.runs == 1 else f"{report.runs} processes"
    yield f"First vector in {report.total_ms:.1f} ms ({low:.1f} to {high:.1f})"
    yield from _fold(
        f"{report.model}, strategy {report.strategy}, engine {report.engine}, "
        f"Python {report.python}, {report.cores} cores, median of {processes}",
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


def _bars(stages: Sequence[StageTime], total_ms: float, width: int) -> Iterator[str]:
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


_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1c20; --quiet: #5b616b; --line: #dde0e5;
  --lane: #f1f2f5; --interpreter: #7a828f; --import: #c0601a; --load: #2563c4;
  --inference: #2c8245 }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #e9ebee; --quiet: #a3abb6;
  --line: #343941; --lane: #22262c; --interpreter: #949dab; --import: #e59350; --load: #6ca4f5;
  --inference: #5fbd7c } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 3rem; max-width: 64rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.2 }
h2 { margin: 2.25rem 0 .5rem; font-size: 1.15rem }
p { margin: .35rem 0 } .quiet { color: var(--quiet) }
table { width: 100%; border-collapse: collapse }
th, td { padding: .3rem .75rem .3rem 0; text-align: left; font-weight: normal }
tbody tr, tfoot tr { border-top: 1px solid var(--line) }
thead { color: var(--quiet); font-size: .875rem }
tfoot { font-weight: 600 } tfoot th { font-weight: 600 }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.way { width: 52%; padding-right: 0 }
.lane { display: block; height: 1rem; background: var(--lane); border-radius: 3px }
.bar { display: block; height: 100%; min-width: 2px; border-radius: 3px; background: var(--c) }
.interpreter { --c: var(--interpreter) } .import { --c: var(--import) }
.load { --c: var(--load) } .inference { --c: var(--inference) }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0; padding: 0;
  list-style: none; color: var(--quiet); font-size: .875rem }
.key li::before { content: ""; display: inline-block; width: .75rem; height: .75rem;
  margin-right: .4rem; border-radius: 3px; background: var(--c) }
.advice { margin: 0; padding: 0; list-style: none }
.advice li { padding: .6rem 0; border-top: 1px solid var(--line) }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 2rem } h1 { font-size: 1.4rem }
  table, thead, tbody, tfoot { display: block }
  tr { display: grid; grid-template-columns: 1fr 5.5rem 3.75rem; padding: .3rem 0 }
  th, td { padding: 0 } .way { grid-column: 1 / -1; width: auto; margin-top: .15rem }
  thead .way, tfoot .way { display: none } .lane { height: .7rem } }
@media (forced-colors: active) { .bar, .key li::before { forced-color-adjust: none }
  .lane { border: 1px solid } }
@media print { .bar, .key li::before { print-color-adjust: exact } }
"""

_KEY = {
    "interpreter": "interpreter",
    "import": "imports",
    "load": "load",
    "inference": "first inference",
}


def page(report: Report) -> str:
    """Return the page."""
    model = escape(report.model)
    low = min(report.totals_ms)
    high = max(report.totals_ms)
    beside = "".join(
        f"<p>Loaded beside the work, after the first vector: {escape(stage)}, {ms:.1f} ms.</p>"
        for stage, ms in report.beside.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Where the time goes: {model}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>First vector in {report.total_ms:.0f} ms</h1>
<p>{model}, strategy {escape(report.strategy)}, engine {escape(report.engine)}</p>
<p class="quiet">Median of {report.runs} fresh processes ({low:.0f} to {high:.0f} ms),
Python {report.python}, {report.cores} cores.</p>
<h2 id="way">The way to the first vector</h2>
{_timeline(report.stages, "way")}
<p>The constructor took {report.constructor_ms:.1f} ms; the same text again took
{report.second_inference_ms:.1f} ms.</p>
{beside}
<h2 id="packages">Imports by package</h2>
{_packages(report)}
<h2>What would make it faster</h2>
{_advice(report.advice)}
{_peer(report.against)}
</main>
</body>
</html>
"""


def _timeline(stages: Sequence[StageTime], label: str, head: str = "Stage") -> str:
    """A table of the stages; the bar beside each repeats its figures for the eye."""
    end = sum(stage.ms for stage in stages) or 1.0
    rows = "\n".join(_row(stage, end) for stage in stages)
    present = {stage.kind for stage in stages}
    key = "".join(
        f'<li class="{kind}">{text}</li>' for kind, text in _KEY.items() if kind in present
    )
    key = f'<ul class="key" aria-hidden="true">{key}</ul>' if len(present) > 1 else ""
    return f"""{key}
<table role="table" aria-labelledby="{label}">
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">{head}</th>
<th role="columnheader" scope="col" class="number">Time</th>
<th role="columnheader" scope="col" class="number">Share</th>
<td class="way" aria-hidden="true"></td></tr></thead>
<tbody role="rowgroup">
{rows}
</tbody>
<tfoot role="rowgroup"><tr role="row"><th role="rowheader" scope="row">Sum of medians</th>
<td role="cell" class="number">{end:.1f} ms</td><td role="cell" class="number">100 %</td>
<td class="way" aria-hidden="true"></td></tr></tfoot>
</table>"""


def _row(stage: StageTime, end: float) -> str:
    left = 100 * stage.start_ms / end
    width = 100 * stage.ms / end
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{escape(stage.name)}</th>'
        f'<td role="cell" class="number">{stage.ms:.1f} ms</td>'
        f'<td role="cell" class="number">{width:.0f} %</td>'
        f'<td class="way" aria-hidden="true"><span class="lane"><span class="bar {stage.kind}" '
        f'style="width:{width:.2f}%;margin-left:{min(left, 99.4):.2f}%"></span></span></td></tr>'
    )


def _packages(report: Report) -> str:
    stages = [StageTime(name, "import", 0.0, ms) for name, ms in report.imports.items()]
    return _timeline(stages, "packages", "Package")


def _advice(found: Sequence[Advice]) -> str:
    if not found:
        return "<p>Nothing is known that would.</p>"
    items = "\n".join(
        f"<li><strong>{_saving(advice)}</strong> {escape(advice.finding)}. "
        f"{escape(advice.remedy)}.</li>"
        for advice in found
    )
    return f'<ul class="advice">\n{items}\n</ul>'


def _saving(advice: Advice) -> str:
    if advice.saves_ms is None:
        return "Not measured."
    return f"Saves {advice.saves_ms:.0f} ms."


def _peer(peer: Peer | None) -> str:
    if peer is None:
        return ""
    return f"""<h2 id="peer">Beside it: {escape(peer.name)}</h2>
<p>{peer.total_ms:.0f} ms to its first vector, {peer.ratio:.1f} times as long.</p>
{_timeline(peer.stages, "peer")}"""
