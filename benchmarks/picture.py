"""What a run found, as a picture."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import caching, readiness
from benchmarks.figures import FIGURES, Figure, Table
from benchmarks.peers import FLOOR, IDLE_LOOP, PEERS, REFERENCE, SUBJECT
from benchmarks.report import ratio_text, write_whole
from benchmarks.strategies import NAMES, PROMISED, THROUGHPUT

_COLOURS = {
    REFERENCE: "#8d99a6",
    "fastembed": "#5b8db8",
    SUBJECT: "#e4572e",
    PROMISED: "#e4572e",
    caching.LANGCHAIN: "#8d99a6",
    THROUGHPUT: "#e4572e",
    FLOOR: "#c9ced4",
    IDLE_LOOP: "#c9ced4",
}
_WITHOUT_RATIO = {REFERENCE, FLOOR, caching.LANGCHAIN}
_OTHER_COLOUR = "#f2a48c"
_ROOM = 1.75
"""Length of an axis over that of its longest bar, whose label stands at the right of it."""
_INK, _FAINT = "#22292f", "#6b7680"


@dataclass(frozen=True)
class Sheet:
    """One picture: its panels row by row, and what is written around them.

    Attributes:
        names: whose bars a panel shows, those it has a figure of.
        strong: the bars whose labels are bold.
        area: left, bottom, width and height of the panels, in parts of the sheet.
        size: of the sheet, in inches.
    """

    title: str
    subtitle: str
    figures: Sequence[Figure]
    names: Sequence[str]
    strong: Sequence[str]
    rows: int
    size: tuple[float, float]
    area: tuple[float, float, float, float]
    libraries: Sequence[str]


_BY_KEY = {figure.key: figure for figure in FIGURES}
_SHOWN = ("first_vector", "peak_memory", "private_memory", "import", "latency", "throughput")
_FIRST_LIGHT = Sheet(
    title="all-MiniLM-L6-v2 from a fresh process",
    subtitle="× is how many times better than sentence-transformers.",
    figures=[_BY_KEY[key] for key in _SHOWN],
    names=[peer.name for peer in PEERS],
    strong=[SUBJECT],
    rows=2,
    size=(16, 8.2),
    area=(0, 0.05, 0.99, 0.84),
    libraries=(REFERENCE, "torch", "fastembed"),
)
_READINESS = Sheet(
    title="all-MiniLM-L6-v2: hotstart's loading strategies",
    subtitle="× is how many times better than sentence-transformers. An event loop ticks each "
    "millisecond while the model is loaded beside it.",
    figures=[figure for figure in readiness.FIGURES if figure.key != "cosine_min"],
    names=NAMES,
    strong=[PROMISED, THROUGHPUT],
    rows=3,
    size=(17, 13),
    area=(0, 0.035, 0.99, 0.885),
    libraries=(REFERENCE, "torch", "openvino"),
)
_CACHING = Sheet(
    title="Vectors that were computed before",
    subtitle="× is how many times faster than LangChain's CacheBackedEmbeddings over files. "
    "384 floats each; the model below costs nothing.",
    figures=caching.FIGURES,
    names=caching.NAMES,
    strong=[caching.MEMORY, caching.FILE, caching.REDIS],
    rows=1,
    size=(17, 4.6),
    area=(0, 0.09, 0.99, 0.72),
    libraries=("langchain-classic", "redis"),
)


def write_picture(path: Path, table: Table, facts: dict[str, Any]) -> None:
    """Draw one panel for each figure shown and write the PNG to `path`, whole or not at all."""
    _write(path, table, facts, _FIRST_LIGHT)


def write_readiness_picture(path: Path, table: Table, facts: dict[str, Any]) -> None:
    """Do the same for the readiness scenario."""
    _write(path, table, facts, _READINESS)


def write_caching_picture(path: Path, table: Table, facts: dict[str, Any]) -> None:
    """Do the same for the caching scenario."""
    _write(path, table, facts, _CACHING)


def _write(path: Path, table: Table, facts: dict[str, Any], sheet: Sheet) -> None:
    importlib.import_module("matplotlib").use("Agg")
    plt: Any = importlib.import_module("matplotlib.pyplot")
    with plt.rc_context({"font.family": "DejaVu Sans", "text.color": _INK}):
        drawing, panels = plt.subplots(sheet.rows, 3, figsize=sheet.size, layout="constrained")
        drawing.get_layout_engine().set(w_pad=0.12, h_pad=0.12, rect=sheet.area)
        for panel, figure in zip(panels.flat, sheet.figures, strict=True):
            _draw_panel(panel, figure, table, sheet)
        _write_captions(drawing, facts, sheet)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format="png", dpi=130, facecolor="white")
        plt.close(drawing)
    write_whole(path, buffer.getvalue())


def _draw_panel(panel: Any, figure: Figure, table: Table, sheet: Sheet) -> None:
    cells = table[figure.key]
    names = [name for name in sheet.names if name in cells]
    if not names:
        panel.set_axis_off()
        return
    widths = [cells[name].value.median * figure.scale for name in names]
    colours = [_COLOURS.get(name, _OTHER_COLOUR) for name in names]
    panel.barh(names, widths, color=colours, height=0.62)
    panel.invert_yaxis()
    panel.set_xlim(0, max(widths) * _ROOM)
    for row, (name, width) in enumerate(zip(names, widths, strict=True)):
        _label_bar(panel, figure, table, (row, name, width), bold=name in sheet.strong)
    _dress_panel(panel, figure, names)


def _label_bar(
    panel: Any, figure: Figure, table: Table, bar: tuple[int, str, float], *, bold: bool
) -> None:
    row, name, width = bar
    cell = table[figure.key][name]
    text = figure.shown(cell.value.median)
    if cell.ratio is not None and name not in _WITHOUT_RATIO:
        text += f"  ·  {ratio_text(cell.ratio)}"
    panel.annotate(
        text,
        (max(width, 0), row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=11,
        fontweight="bold" if bold else "normal",
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


def _write_captions(drawing: Any, facts: dict[str, Any], sheet: Sheet) -> None:
    versions = facts["libraries"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in sheet.libraries)
    foot = (
        f"{facts['cores']} cores of {facts['cpu']}, Python {facts['python']}, {libraries}, "
        f"onnxruntime {versions['onnxruntime']}, hotstart {versions['hotstart']}; "
        f"{str(facts['date'])[:10]}. Peers in turn, files in the page cache, bytecode compiled."
    )
    subtitle = f"Medians, rounds: {facts['rounds']}.  {sheet.subtitle}"
    height = sheet.size[1]
    top, below = 1 - 0.29 / height, 1 - 0.7 / height
    drawing.text(0.012, top, sheet.title, fontsize=20, fontweight="bold", va="center")
    drawing.text(0.012, below, subtitle, fontsize=13, color=_FAINT, va="center")
    drawing.text(0.012, 0.18 / height, foot, fontsize=9.5, color=_FAINT, va="center")
