"""What a run found, as a picture."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, Figure, Table
from benchmarks.peers import FLOOR, PEERS, REFERENCE, SUBJECT
from benchmarks.report import ratio_text, write_whole

_SHOWN = ("first_vector", "peak_memory", "private_memory", "import", "latency", "throughput")
_COLOURS = {REFERENCE: "#8d99a6", "fastembed": "#5b8db8", SUBJECT: "#e4572e", FLOOR: "#c9ced4"}
_OTHER_COLOUR = "#f2a48c"
_ROOM = 1.75
"""Length of an axis over that of its longest bar, whose label stands at the right of it."""
_INK, _FAINT = "#22292f", "#6b7680"


def write_picture(path: Path, table: Table, facts: dict[str, Any]) -> None:
    """Draw one panel for each figure shown and write the PNG to `path`, whole or not at all."""
    importlib.import_module("matplotlib").use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    with plt.rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
        sheet, panels = plt.subplots(2, 3, figsize=(16, 8.2), layout="constrained")
        sheet.get_layout_engine().set(w_pad=0.12, h_pad=0.12, rect=(0, 0.05, 0.99, 0.84))
        by_key = {figure.key: figure for figure in FIGURES}
        for panel, key in zip(panels.flat, _SHOWN, strict=True):
            _draw_panel(panel, by_key[key], table)
        _write_captions(sheet, facts)
        buffer = io.BytesIO()
        sheet.savefig(buffer, format="png", dpi=130, facecolor="white")
        plt.close(sheet)
    write_whole(path, buffer.getvalue())


def _draw_panel(panel: Any, figure: Figure, table: Table) -> None:
    cells = table[figure.key]
    names = [peer.name for peer in PEERS if peer.name in cells]
    if not names:
        panel.set_axis_off()
        return
    widths = [cells[name].value.median * figure.scale for name in names]
    colours = [_COLOURS.get(name, _OTHER_COLOUR) for name in names]
    panel.barh(names, widths, color=colours, height=0.62)
    panel.invert_yaxis()
    panel.set_xlim(0, max(widths) * _ROOM)
    for row, (name, width) in enumerate(zip(names, widths, strict=True)):
        _label_bar(panel, figure, table, (row, name, width))
    _dress_panel(panel, figure, names)


def _label_bar(panel: Any, figure: Figure, table: Table, bar: tuple[int, str, float]) -> None:
    row, name, width = bar
    cell = table[figure.key][name]
    text = figure.shown(cell.value.median)
    if cell.ratio is not None and name not in {REFERENCE, FLOOR}:
        text += f"  ·  {ratio_text(cell.ratio)}"
    panel.annotate(
        text,
        (max(width, 0), row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=11,
        fontweight="bold" if name == SUBJECT else "normal",
    )


def _dress_panel(panel: Any, figure: Figure, names: list[str]) -> None:
    hint = {"less": "less is better", "more": "more is better", "same": "1 is identical"}
    unit = f"{figure.unit}, " if figure.unit else ""
    panel.set_title(figure.title, fontsize=13, fontweight="bold", loc="left", pad=8)
    panel.set_xlabel(unit + hint[figure.better], fontsize=10, color=_FAINT)
    panel.tick_params(axis="x", labelsize=9, colors=_FAINT)
    panel.tick_params(axis="y", labelsize=11, length=0)
    longest = panel.get_xlim()[1] / _ROOM  # ticks end with the bars, not with their labels
    ticker: Any = importlib.import_module("matplotlib.ticker")
    panel.set_xticks([t for t in ticker.MaxNLocator(4).tick_values(0, longest) if t <= longest])
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("#d5dade")


def _write_captions(sheet: Any, facts: dict[str, Any]) -> None:
    versions = facts["libraries"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in (REFERENCE, "torch", "fastembed"))
    title = "all-MiniLM-L6-v2 from a fresh process"
    subtitle = f"Medians, rounds: {facts['rounds']}.  × is how many times better than {REFERENCE}."
    foot = (
        f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, {libraries}, "
        f"onnxruntime {versions['onnxruntime']}, hotstart {versions['hotstart']}; "
        f"{str(facts['date'])[:10]}. Peers in turn, files in the page cache, bytecode compiled."
    )
    sheet.text(0.012, 0.965, title, fontsize=20, fontweight="bold", va="center")
    sheet.text(0.012, 0.915, subtitle, fontsize=13, color=_FAINT, va="center")
    sheet.text(0.012, 0.022, foot, fontsize=9.5, color=_FAINT, va="center")
