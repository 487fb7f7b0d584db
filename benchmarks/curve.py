"""Throughput against p99 for rising load, as a picture."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

from benchmarks.report import write_whole
from benchmarks.servers import EIGHT_BITS, HOTSTART, OPTIMUM, TORCH
from benchmarks.service import Curve

_COLOURS = {HOTSTART: "#e4572e", EIGHT_BITS: "#a3320b", OPTIMUM: "#5b8db8", TORCH: "#8d99a6"}
_PLACES = {HOTSTART: ((0, 12), "center"), EIGHT_BITS: ((10, -4), "left")}
"""Of the labels, from where a line ends: away from the others, which end to the left."""
_INK, _FAINT = "#22292f", "#6b7680"
_TITLE = "Short texts at rising load: answers per second against p99"


def write_curves(path: Path, curves: dict[str, Curve], facts: dict[str, Any]) -> None:
    """Draw a line for each server and write the PNG to `path`, whole or not at all."""
    importlib.import_module("matplotlib").use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    with plt.rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
        drawing, panel = plt.subplots(figsize=(11, 6.4))
        drawing.subplots_adjust(left=0.085, right=0.965, top=0.83, bottom=0.17)
        for name, curve in curves.items():
            _draw_line(panel, name, curve)
        _dress(panel)
        _write_captions(drawing, facts)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format="png", dpi=130, facecolor="white")
        plt.close(drawing)
    write_whole(path, buffer.getvalue())


def _draw_line(panel: Any, name: str, curve: Curve) -> None:
    """The last point is the one where answers no longer keep up: it is drawn hollow."""
    answered = [point[1] for point in curve]
    p99 = [1e3 * point[2] for point in curve]
    colour = _COLOURS.get(name, _FAINT)
    panel.plot(answered, p99, color=colour, linewidth=2.4, label=name, zorder=3)
    panel.scatter(answered[:-1], p99[:-1], color=colour, s=34, zorder=4)
    panel.scatter(answered[-1:], p99[-1:], color=colour, facecolor="white", s=44, zorder=4)
    place, side = _PLACES.get(name, ((-10, -4), "right"))
    panel.annotate(
        f"{name}: {max(answered):.0f}/s",
        (answered[-1], p99[-1]),
        xytext=place,
        textcoords="offset points",
        ha=side,
        fontsize=11.5,
        fontweight="bold" if name in _PLACES else "normal",
        color=colour,
    )


def _dress(panel: Any) -> None:
    ticker: Any = importlib.import_module("matplotlib.ticker")
    for axis, scale in ((panel.xaxis, panel.set_xscale), (panel.yaxis, panel.set_yscale)):
        scale("log")
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    panel.margins(x=0.08, y=0.12)
    panel.set_xlim(right=1.6 * panel.get_xlim()[1])
    panel.set_xlabel("answers a second, more is better", fontsize=11, color=_FAINT)
    panel.set_ylabel("p99 of the latency in ms, less is better", fontsize=11, color=_FAINT)
    panel.tick_params(labelsize=10, colors=_FAINT)
    panel.grid(which="major", color="#e8ebee", zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color("#d5dade")


def _write_captions(drawing: Any, facts: dict[str, Any]) -> None:
    versions = facts["libraries"]
    subtitle = (
        "all-MiniLM-L6-v2, one text a request, sent when due whatever was answered (open loop).\n"
        "Each point is another offered load; at the last, hollow one answers no longer keep up."
    )
    foot = (
        f"{facts['cores']} cores of {facts['cpu']}, shared with what asks; "
        f"Python {facts['python']}, infinity-emb {facts.get('infinity', '?')}, "
        f"onnxruntime {versions['onnxruntime']}, hotstart {versions['hotstart']}; "
        f"{str(facts['date'])[:10]}. One server at a time."
    )
    drawing.text(0.02, 0.955, _TITLE, fontsize=17, fontweight="bold", va="center")
    drawing.text(0.02, 0.885, subtitle, fontsize=11.5, color=_FAINT, va="center")
    drawing.text(0.02, 0.03, foot, fontsize=9, color=_FAINT, va="center")
