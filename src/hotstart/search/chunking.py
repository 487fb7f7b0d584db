"""Cut a text into chunks along its structure."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from hotstart.search import grammars
from hotstart.search.outline import Heading, outline_of

LIMIT = 1200
"""Characters of the longest chunk; about what the smaller embedding models read."""

_SMALL = 400  # shorter sections join a neighbour under the same heading
_TINY = 200  # shorter sections join a neighbour under another heading, up to _SMALL
_SCRAP = 20  # what is left after the last part of a definition: a brace, an `end`
_LEAST = LIMIT // 4  # of a part of a long section, where lines and statements allow it
_LONGEST_HEADING = 160
_LONGEST_NAME = 60

_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Chunk:
    """A part of a text, small enough to embed, with the names that it defines.

    A line may be split between chunks, at the end of a sentence or of a word.
    """

    text: str
    heading: str
    start_line: int
    end_line: int
    names: tuple[str, ...] = ()


_RULES = 1  # incremented with each change of the chunks


def rules_for(path: str) -> int:
    """Return the number of the rules that cut the file `path`; better ones have a higher number."""
    return 2 * _RULES + grammars.has_grammar(path)


def chunk(path: str, text: str) -> list[Chunk]:
    """Cut `text`, the content of a file called `path`, into chunks in order. Never raises.

    Every line that is not blank is in a chunk; no chunk is longer than LIMIT.
    """
    return _Cutter(path, _NEWLINE.split(text)).run()


class _Section(NamedTuple):
    """Lines [start, end), counted from 0; the first and the last are not blank."""

    heading: Heading
    start: int
    end: int


class _Cutter:
    """Cuts the text of these `lines`."""

    def __init__(self, path: str, lines: list[str]) -> None:
        self._lines = lines
        self._text = "\n".join(lines)
        self._offsets = [0, *accumulate(len(line) + 1 for line in lines)]
        self._outline = outline_of(path, lines, LIMIT)
        self._names = deque(self._outline.names)

    def run(self) -> list[Chunk]:
        """Return the chunks."""
        return [piece for section in self._sections() for piece in self._cut(section)]

    def _sections(self) -> list[_Section]:
        """Return the sections; small ones are joined to a neighbour."""
        sections = {0: (), **self._outline.sections}
        joined: list[_Section] = []
        for first, end in pairwise([*sorted(sections), len(self._lines)]):
            section = self._trimmed(_Section(sections[first], first, end))
            if section is None:
                continue
            if joined and self._belong_together(joined[-1], section):
                section = self._joined(joined.pop(), section)
            joined.append(section)
        if len(joined) > 1 and joined[-1].start in self._outline.titles:
            last = joined.pop()
            joined.append(self._joined(joined.pop(), last))
        return joined

    def _trimmed(self, section: _Section) -> _Section | None:
        """Return `section` without blank lines around it; None if it is blank."""
        start = section.start
        end = section.end
        while start < end and not self._lines[start].strip():
            start += 1
        while end > start and not self._lines[end - 1].strip():
            end -= 1
        return _Section(section.heading, start, end) if start < end else None

    def _belong_together(self, before: _Section, after: _Section) -> bool:
        if before.start in self._outline.titles or self._is_scrap(before, after):
            return True
        smaller = min(self._size(before), self._size(after))
        together = self._offsets[after.end] - self._offsets[before.start] - 1
        if before.heading == after.heading:
            return smaller < _SMALL and together <= LIMIT
        if before.heading == after.heading[: len(before.heading)] and before.heading:
            return self._size(before) < _TINY and together <= LIMIT  # the head of a class
        return smaller < _TINY and together <= _SMALL

    def _is_scrap(self, before: _Section, after: _Section) -> bool:
        """Return whether `after` is the end of a definition whose last part is `before`."""
        is_around = after.heading == before.heading[: len(after.heading)]
        return is_around and self._size(after) <= _SCRAP

    def _size(self, section: _Section) -> int:
        return self._offsets[section.end] - self._offsets[section.start] - 1

    def _joined(self, before: _Section, after: _Section) -> _Section:
        heading = before.heading
        if not self._is_scrap(before, after):
            heading = _common_heading(before.heading, after.heading)
        return _Section(heading, before.start, after.end)

    def _cut(self, section: _Section) -> Iterator[Chunk]:
        """Yield the chunks of `section`; those after the first have its signature as heading."""
        heading = section.heading
        signature = self._outline.signatures.get(section.start)
        start = self._offsets[section.start]
        last = self._offsets[section.end] - 1
        while last - start > LIMIT:
            end = self._end(start, min(start + LIMIT, last - _LEAST))
            yield from self._piece(heading, start, end)
            start = _SPACE.match(self._text, end).end()  # type: ignore[union-attr]
            if signature:
                heading = (*section.heading[:-1], signature)
        yield from self._piece(heading, start, last)

    def _piece(self, heading: Heading, start: int, end: int) -> Iterator[Chunk]:
        """Yield the chunk of the characters [start, end) without the blank lines at its end."""
        first = bisect_right(self._offsets, start)
        last = bisect_right(self._offsets, end - 1)
        while last > first and not self._lines[last - 1].strip():
            last -= 1
        text = self._text[start : min(end, self._offsets[last] - 1)]
        if text.strip():
            names = tuple(dict.fromkeys(self._names_until(last)))
            yield Chunk(text, " > ".join(heading)[:_LONGEST_HEADING], first, last, names)

    def _names_until(self, line: int) -> Iterator[str]:
        """Yield the names that no chunk has yet, up to the given line."""
        while self._names and self._names[0][0] < line:
            name = self._names.popleft()[1]
            if 1 < len(name) <= _LONGEST_NAME:
                yield name

    def _end(self, start: int, last: int) -> int:
        """Return where the chunk that begins at `start` ends, at `last` at the latest.

        The best place in its second half, else the last line end before, else the end of a word.
        """
        middle = start + LIMIT // 2
        best = min(((cost, -place) for cost, place in self._places(middle, last)), default=None)
        if best is None:
            early = self._line_ends(start + _LEAST, middle)
            best = min(((0, -place) for _, place in early), default=None)
        if best is not None:
            return -best[1]
        for end in range(last, start, -1):
            if not (_is_of_word(self._text[end - 1]) and _is_of_word(self._text[end])):
                return end
        return last

    def _places(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """Yield the places after `low` to end a chunk, up to `high`, with their cost."""
        yield from self._line_ends(low, high)
        if self._outline.is_prose:
            for match in _SENTENCE_END.finditer(self._text, low, high + 1):
                if match.end() <= high:
                    yield _SENTENCE, match.end()
            place = self._text.rfind(" ", low + 1, high + 1)
            if place > low:
                yield _WORD, place

    def _line_ends(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        for line in range(bisect_left(self._offsets, low + 2), len(self._lines)):
            place = self._offsets[line] - 1
            if place > high:
                break
            yield self._cost(line), place

    def _cost(self, line: int) -> int:
        """Return the cost of a cut before `line`."""
        if not self._outline.is_prose:
            is_blank = not self._lines[line - 1].strip()
            return self._outline.seams.get(line, _BLANK if is_blank else _LINE)
        if not self._lines[line].strip():
            return 0
        return _SENTENCE if _ITEM.match(self._lines[line]) else _LINE


_BLANK = 1000  # costs of places to cut; statements cost their depth
_SENTENCE = 1001
_LINE = 1002
_WORD = 1003

_SPACE = re.compile(r"(?:[^\S\n]*\n)+|[^\S\n]*")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]*_`]*(?=\s+[^\sa-z])|[。！？][」』”’）]*")
_ITEM = re.compile(r"\s*(?:[-*+•|>#:]|\d+[.)]\s|```|~~~)")


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.combining(character) > 0


def _common_heading(before: Heading, after: Heading) -> Heading:
    """Return one heading for two neighbours: ("Guide", "Install") and ("Guide", "Use") give
    ("Guide", "Install, Use"); a heading and one below it give the lower one."""
    shared = 0
    while shared < min(len(before), len(after)) and before[shared] == after[shared]:
        shared += 1
    own = [" > ".join(heading[shared:]) for heading in (before, after)]
    inner = ", ".join(part for part in own if part)
    return (*before[:shared], inner) if inner else before
