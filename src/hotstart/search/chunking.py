"""A text into chunks: pieces small enough to embed, cut where the text itself has a seam."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from hotstart.search.outlines import outline_of
from hotstart.search.python_outline import Heading

LIMIT = 1200
"""Characters of the longest chunk; about what the smaller embedding models read."""

_SMALL = 400  # a piece below this is joined to a neighbour under the same heading
_TINY = 100  # a piece below this is joined to a neighbour under another heading, up to _SMALL
_LONGEST_HEADING = 160

_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Chunk:
    """A piece of a text: its lines `start_line` to `end_line`, counted from 1, under `heading`.

    Of a line that is longer than a chunk may be, `text` is a piece.
    """

    text: str
    heading: str
    start_line: int
    end_line: int


@dataclass(frozen=True)
class _Section:
    """Lines `start` up to `end`, counted from 0; neither the first nor the last is blank."""

    heading: Heading
    start: int
    end: int


def chunk(path: str, text: str) -> list[Chunk]:
    """Cut `text`, the content of a file called `path`, into chunks in order. Never raises.

    Every line that is not blank is in a chunk; no chunk is longer than LIMIT.
    """
    lines = _NEWLINE.split(text)
    return [piece for section in _sections(path, lines) for piece in _cut(lines, section)]


def _sections(path: str, lines: list[str]) -> list[_Section]:
    """The sections of the text, the small ones joined to their neighbours."""
    outline = {0: (), **outline_of(path, lines)}
    starts = [*sorted(outline), len(lines)]
    offsets = [0, *accumulate(len(line) + 1 for line in lines)]
    joined: list[_Section] = []
    for first, end in pairwise(starts):
        section = _trimmed(lines, _Section(outline[first], first, end))
        if section is None:
            continue
        if joined and _belong_together(joined[-1], section, offsets):
            before = joined.pop()
            heading = _common_heading(before.heading, section.heading)
            section = _Section(heading, before.start, section.end)
        joined.append(section)
    return joined


def _trimmed(lines: list[str], section: _Section) -> _Section | None:
    """`section` without the blank lines around it; None where there is nothing else."""
    start, end = section.start, section.end
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    return _Section(section.heading, start, end) if start < end else None


def _belong_together(before: _Section, after: _Section, offsets: list[int]) -> bool:
    smaller = min(offsets[s.end] - offsets[s.start] - 1 for s in (before, after))
    together = offsets[after.end] - offsets[before.start] - 1
    if before.heading == after.heading:
        return smaller < _SMALL and together <= LIMIT
    return smaller < _TINY and together <= _SMALL


def _common_heading(before: Heading, after: Heading) -> Heading:
    """One heading for two neighbours: ("Guide", "Install") and ("Guide", "Use") give
    ("Guide", "Install, Use"); of a heading and one within it, the inner."""
    shared = 0
    while shared < min(len(before), len(after)) and before[shared] == after[shared]:
        shared += 1
    own = [" > ".join(heading[shared:]) for heading in (before, after)]
    inner = ", ".join(part for part in own if part)
    return (*before[:shared], inner) if inner else before


def _cut(lines: list[str], section: _Section) -> Iterator[Chunk]:
    """The chunks of `section`: itself where it fits, else cut at line ends, at a blank one if one
    is near, and within a line only where that line alone is too long."""
    heading = " > ".join(section.heading)[:_LONGEST_HEADING]
    start = section.start
    while start < section.end:
        end = _fitting(lines, start, section.end)
        if end == start:
            for piece in _pieces(lines[start]):
                yield Chunk(piece, heading, start + 1, start + 1)
            start += 1
            continue
        if end < section.end:
            end = _seam(lines, start, end)
        part = _trimmed(lines, _Section(section.heading, start, end))
        if part is not None:
            text = "\n".join(lines[part.start : part.end])
            yield Chunk(text, heading, part.start + 1, part.end)
        start = end


def _fitting(lines: list[str], start: int, last: int) -> int:
    """The end of the most lines from `start` on that fit into one chunk."""
    end, size = start, -1
    while end < last and size + 1 + len(lines[end]) <= LIMIT:
        size += 1 + len(lines[end])
        end += 1
    return end


def _seam(lines: list[str], start: int, end: int) -> int:
    """The end of the last blank line in the second half of these lines, else `end`."""
    for candidate in range(end, start + (end - start) // 2, -1):
        if not lines[candidate - 1].strip():
            return candidate
    return end


def _pieces(line: str) -> Iterator[str]:
    for start in range(0, len(line), LIMIT):
        piece = line[start : start + LIMIT]
        if piece.strip():
            yield piece
