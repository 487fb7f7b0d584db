"""The lines of a hit that answer the query, as they are in its file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.search.words import spans_of

if TYPE_CHECKING:
    from hotstart.search.expressions import Expression
    from hotstart.search.lexical import WantedWords

_LINES = 3
_NEWLINE = re.compile(r"\r\n|\r|\n")


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: counted from 1.
        text: the line without its end.
        matches: the start and the end of each word of the query in `text`.
    """

    number: int
    text: str
    matches: tuple[tuple[int, int], ...]


class Excerpt(NamedTuple):
    """Lines of a hit.

    Attributes:
        line: the number of the line that answers best.
        lines: the lines to show, by rising number.
        note: why they may not be what the file holds now; None if they are.
    """

    line: int
    lines: tuple[Line, ...]
    note: str | None

    def fields(self) -> dict[str, Any]:
        """Return what a hit in JSON has of it."""
        lines = [line._asdict() for line in self.lines]
        return {"line": self.line, "lines": lines, "note": self.note}


class Surroundings(NamedTuple):
    """A chunk among the lines of its file.

    Attributes:
        lines: the lines; those from `start` to `end`, counted from 0, are the chunk.
        first: the number of the first line.
        note: why the file may hold others now.
    """

    lines: list[str]
    start: int
    end: int
    first: int
    note: str | None


def alone(text: str, start_line: int, note: str | None = None) -> Surroundings:
    """Return the chunk `text` without what is around it."""
    lines = _NEWLINE.split(text)
    return Surroundings(lines, 0, len(lines), start_line, note)


def within_file(path: str, text: str, start_line: int) -> Surroundings:
    """Return the chunk `text` within the file `path` as it is now, wherever it moved."""
    from hotstart.search.documents import read_document  # an answer of current files needs neither
    from hotstart.search.text import SkippedFile

    try:
        content = read_document(path, is_named=True).text
    except FileNotFoundError:
        return alone(text, start_line, "no longer there")
    except SkippedFile as verdict:
        return alone(text, start_line, str(verdict))
    lines = _NEWLINE.split(content)
    chunk = _NEWLINE.split(text)
    starts = [n for n, line in enumerate(lines) if lines[n : n + len(chunk)] == chunk]
    if not starts:
        return alone(text, start_line, "changed since it was indexed")
    start = min(starts, key=lambda n: abs(n + 1 - start_line))
    return Surroundings(lines, start, start + len(chunk), 1, None)


def take_excerpt(
    place: Surroundings,
    wanted: WantedWords,
    context: int | None,
    expression: Expression | None = None,
) -> Excerpt:
    """Return the lines of the chunk with most of the `wanted` words.

    Args:
        place: the chunk.
        wanted: the words of the query.
        context: lines to show around each; None fills up to three lines.
        expression: what is marked instead of the words.
    """

    def matches(line: str) -> tuple[tuple[int, int], ...]:
        return _matches(line, wanted) if expression is None else tuple(expression.spans(line))

    chosen = _telling(place, wanted)
    if context is None:
        shown = _filled_up(chosen, place)
    else:
        around = (range(line - context, line + context + 1) for line in chosen)
        shown = {n for each in around for n in each if 0 <= n < len(place.lines)}
    return Excerpt(
        line=place.first + chosen[0],
        lines=tuple(
            Line(place.first + n, place.lines[n], matches(place.lines[n])) for n in sorted(shown)
        ),
        note=place.note,
    )


def _telling(place: Surroundings, wanted: WantedWords) -> list[int]:
    """Return up to three lines of the chunk, each with most words that those before it lack."""
    left = {n: wanted.within(place.lines[n]) for n in range(place.start, place.end)}
    chosen: list[int] = []
    covered: frozenset[int] = frozenset()
    while len(chosen) < _LINES and any(left.values()):
        best = max(left, key=lambda n: (len(left[n] - covered), len(left[n]), -n))
        chosen.append(best)
        covered |= left.pop(best)
    filled = (n for n in range(place.start, place.end) if place.lines[n].strip())
    return chosen or [next(filled, place.start)]


def _filled_up(chosen: Sequence[int], place: Surroundings) -> set[int]:
    """Return `chosen` and the lines after the best one, then those before it, up to three."""
    best = chosen[0]
    near = [*range(best + 1, place.end), *range(best - 1, place.start - 1, -1)]
    filled = [n for n in near if n not in chosen and place.lines[n].strip()]
    return {*chosen, *filled[: _LINES - len(chosen)]}


def _matches(line: str, wanted: WantedWords) -> tuple[tuple[int, int], ...]:
    """Return where `line` holds words of the query."""
    matches: list[tuple[int, int]] = []
    for start, end in spans_of(line):
        if wanted.within(line[start:end]):
            overlaps = matches and matches[-1][1] > start  # as pairs of characters do
            matches.append((matches.pop()[0] if overlaps else start, end))
    return tuple(matches)
