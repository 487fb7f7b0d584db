"""An answer on a terminal: each file, and below it the lines that answer, words marked."""

from __future__ import annotations

import os
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby
from typing import Any, NamedTuple

from hotstart.cli.terminal import plural, shown_path, visible
from hotstart.search import Answer, Hit
from hotstart.search.excerpt import Excerpt, Line

_PATH, _NUMBER, _MATCH, _MINOR = "35", "32", "1;31", "2"  # as ripgrep colours them
_TAB = 4
_LONGEST = 1000  # characters before and after the first match


class Display(NamedTuple):
    """How an answer is shown.

    Attributes:
        width: columns of a line.
        colours: whether paths, numbers and words of the query are coloured.
        explain: whether the parts of each hit's rank are shown.
        gaps: whether a mark stands where lines are left out.
    """

    width: int
    colours: bool
    explain: bool = False
    gaps: bool = False

    def answer(self, answer: Answer, excerpts: Iterable[Excerpt]) -> Iterator[str]:
        """Yield the lines that show `answer`, whose hits have these `excerpts`."""
        for hit, excerpt in zip(answer.hits, excerpts, strict=True):
            yield from self._hit(hit, excerpt)
            yield ""
        yield from textwrap.wrap(visible(_summary(answer)), self.width, break_long_words=False)

    def _hit(self, hit: Hit, found: Excerpt) -> Iterator[str]:
        place = f"{visible(shown_path(hit.file))}:{found.line}"
        facts = f"{hit.score:.2f}"
        if found.note:
            facts += f" ({found.note})"
        room = max(1, self.width - len(place) - len(facts) - 4)
        heading = self._minor(hit.heading, room)
        yield f"{self._coloured(place, _PATH)}  {facts}  {heading}".rstrip()
        yield from self._lines(found.lines)
        if hit.others:
            yield f"    {self._minor(_others(hit), self.width - 4)}"
        if self.explain:
            yield f"    {_explanation(hit)}"

    def _lines(self, lines: tuple[Line, ...]) -> Iterator[str]:
        digits = max((len(str(line.number)) for line in lines), default=0)
        last = lines[0].number - 1 if lines else 0
        for line in lines:
            if self.gaps and line.number > last + 1:
                yield self._coloured("  --", _MINOR)
            last = line.number
            number = self._coloured(f"{line.number:>{digits}}", _NUMBER)
            sign = ":" if line.matches else "-"
            cells = _cut(_cells(line.text, line.matches), self.width - digits - 4)
            yield f"  {number}{sign} {self._joined(cells)}".rstrip()

    def _joined(self, cells: list[_Cell]) -> str:
        """Return the text of `cells`, with what matches marked."""
        runs = groupby(cells, key=lambda cell: cell.matches)
        texts = (("".join(cell.text for cell in run), matches) for matches, run in runs)
        return "".join(self._coloured(text, _MATCH) if matches else text for text, matches in texts)

    def _minor(self, text: str, width: int) -> str:
        return self._coloured(self._joined(_cut(_cells(text), width)), _MINOR)

    def _coloured(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self.colours and text else text


class _Cell(NamedTuple):
    """What the terminal shows of one character, and whether it belongs to a match."""

    text: str
    width: int
    matches: bool


def _cells(text: str, matches: tuple[tuple[int, int], ...] = ()) -> list[_Cell]:
    """Return the characters of `text` as a terminal shows them; of a long text, those about the
    first match."""
    start = max(0, matches[0][0] - _LONGEST) if matches else 0
    inside = {at for span in matches for at in range(span[0], span[1])}
    cells = []
    for at, character in enumerate(text[start : start + 2 * _LONGEST], start):
        shown = " " * _TAB if character == "\t" else visible(character)
        wide = unicodedata.east_asian_width(character) in {"W", "F"}
        zero = unicodedata.category(character) in {"Mn", "Me", "Cf"} and shown == character
        cells.append(_Cell(shown, 0 if zero else len(shown) + wide, at in inside))
    return cells


def _cut(cells: list[_Cell], width: int) -> list[_Cell]:
    """Return what fits into `width` columns, from the start or about the first match."""
    total = sum(cell.width for cell in cells)
    if total <= width:
        return cells
    first = next((n for n, cell in enumerate(cells) if cell.matches), 0)
    before = sum(cell.width for cell in cells[:first])
    skipped = max(0, min(before - width // 3, total - width + 1)) if before > width // 2 else 0
    kept: list[_Cell] = []
    gone = 0
    room = width - 1 - (skipped > 0)
    for cell in cells:
        if gone < skipped:
            gone += cell.width
        elif cell.width <= room:
            kept.append(cell)
            room -= cell.width
        else:
            kept.append(_ELLIPSIS)
            break
    return [_ELLIPSIS, *kept] if skipped else kept


_ELLIPSIS = _Cell("…", 1, False)


def as_json(answer: Answer, excerpts: Iterable[Excerpt]) -> dict[str, Any]:
    """Return `answer` with the excerpts of its hits, for JSON."""
    content = asdict(answer)
    for hit, fields, found in zip(answer.hits, content["hits"], excerpts, strict=True):
        fields |= {"file": hit.file, **found.fields()}
    return content


def _others(hit: Hit) -> str:
    """Return the other places of a hit: those of its file by their line alone."""
    places = [
        f":{other.start_line}"
        if other.path == hit.path
        else f"{shown_path(os.path.join(hit.folder, other.path))}:{other.start_line}"
        for other in hit.others
    ]
    return f"also {', '.join(places)}"


def _explanation(hit: Hit) -> str:
    """Return the rank of a hit as the sum of its parts."""
    parts = [f"{name} {value:.3g}" for name, value in hit.parts.items() if value]
    return f"rank {sum(hit.parts.values()):.3g} = {' + '.join(parts)}".replace("+ -", "- ")


def _summary(answer: Answer) -> str:
    """Return the line with time, mode and engine of an answer."""
    parts = [
        f"{plural(len(answer.hits), 'result')} in {answer.seconds:.3f} s",
        f"mode {answer.mode}",
    ]
    parts.append(f"engine {answer.engine} ({answer.model})" if answer.model else "no engine")
    if answer.reason:
        parts.append(answer.reason)
    return " · ".join(parts)
