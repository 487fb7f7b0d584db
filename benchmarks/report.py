"""What a run found: as a table, and as JSON."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import FIGURES, Cell, Figure, Table, Verdict
from benchmarks.first_light import Outcome
from benchmarks.peers import PEERS, first_vector_program
from benchmarks.verdict import Verdict as Judged

_PEER_NAMES = tuple(peer.name for peer in PEERS)


def table_lines(
    table: Table, figures: Sequence[Figure] = FIGURES, names: Sequence[str] = _PEER_NAMES
) -> Iterator[str]:
    """Yield the table to print: medians, and in brackets how many times better than the first."""
    rows = [["", *names]]
    for figure in figures:
        cells = (table[figure.key].get(name) for name in names)
        rows.append([figure.title, *(_cell_text(figure, cell) for cell in cells)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        title, *values = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join([title, *values]).rstrip()


def closing_lines(outcome: Outcome, verdicts: Iterable[object]) -> Iterator[str]:
    """Yield the failures, each by name with its error, then the verdicts."""
    for failure in outcome.failures:
        yield f"FAILED {failure.peer}, {failure.scene}: {failure.error.rstrip()}"
    for verdict in verdicts:
        yield str(verdict)


def as_json(
    table: Table, outcome: Outcome, verdicts: list[Verdict], facts: dict[str, object]
) -> dict[str, Any]:
    """Return all of it as one JSON document; values in seconds, bytes, texts/s and cosines."""
    return {
        "machine": facts,
        "commands": {peer.name: first_vector_program(peer).splitlines() for peer in PEERS},
        "figures": figures_as_json(table, FIGURES),
        "failures": [asdict(failure) for failure in outcome.failures],
        "promises": [
            asdict(verdict.promise) | {"found": verdict.found, "kept": verdict.kept}
            for verdict in verdicts
        ],
    }


def scenario_as_json(
    figures: dict[str, Any],
    outcome: Outcome,
    verdicts: Iterable[Judged],
    facts: dict[str, object],
    commands: dict[str, Any],
) -> dict[str, Any]:
    """Return all of a scenario as one JSON document; `commands` by what ran them."""
    return {
        "machine": facts,
        "commands": commands,
        "figures": figures,
        "failures": [asdict(failure) for failure in outcome.failures],
        "promises": [asdict(verdict) | {"kept": verdict.kept} for verdict in verdicts],
    }


def figures_as_json(table: Table, figures: Iterable[Figure]) -> dict[str, Any]:
    """Return `figures` with the cell of every peer."""
    return {
        figure.key: {
            "title": figure.title,
            "better": figure.better,
            "peers": {peer: asdict(cell) for peer, cell in table[figure.key].items()},
        }
        for figure in figures
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` to `path`, whole or not at all."""
    write_whole(path, (json.dumps(document, indent=1) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write beside `path` and rename, so that a stopped run leaves the former result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        staged.write_bytes(content)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def _cell_text(figure: Figure, cell: Cell | None) -> str:
    if cell is None:
        return "-"
    ratio = "" if cell.ratio is None else f" ({ratio_text(cell.ratio)})"
    return figure.shown(cell.value.median) + ratio


def ratio_text(ratio: float) -> str:
    """Return a ratio with two digits that mean something."""
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.2g}×"
