"""The outline of a text: its sections, the places to cut a long one, the names that it defines."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

from hotstart.search import grammars
from hotstart.search.definitions import Definition, find_definitions
from hotstart.search.grammars import Syntax

Heading = tuple[str, ...]
"""A section's place in its text, outermost first: ("class Pool", "def get")."""


class Outline(NamedTuple):
    """The outline of a text. Lines are counted from 0.

    Attributes:
        sections: the heading of each section, by the line at which it begins.
        titles: the lines at which sections begin that are a title and nothing else.
        names: the defined names in order, with their lines.
        signatures: of the sections that are definitions, by the line at which they begin.
        seams: lines before which a long section is cut rather than elsewhere, lower numbers first.
        is_prose: whether a line may be cut where a sentence ends.
    """

    sections: dict[int, Heading]
    titles: frozenset[int] = frozenset()
    names: Sequence[tuple[int, str]] = ()
    signatures: Mapping[int, str] = MappingProxyType({})
    seams: Mapping[int, int] = MappingProxyType({})
    is_prose: bool = False


def outline_of(path: str, lines: list[str], longest: int) -> Outline:
    """Return the outline of the file `path` with these `lines`. Never raises.

    What has at most `longest` characters need not be cut.
    """
    extension = os.path.splitext(path)[1].lower()
    if extension in _PROSE:
        outline = _PROSE[extension](lines)
        return outline._replace(sections=outline.sections or _paragraphs(lines), is_prose=True)
    syntax = grammars.parse(path, lines, longest)
    if syntax is None:
        syntax = Syntax(find_definitions(path, lines), [], _indentations(lines))
    return _code(syntax, lines, longest)


def _paragraphs(lines: list[str]) -> dict[int, Heading]:
    """Begin a section after each blank line."""
    return {
        number: ()
        for number in range(1, len(lines))
        if lines[number].strip() and not lines[number - 1].strip()
    }


# Source code ------------------------------------------------------------------------------------


def _code(syntax: Syntax, lines: list[str], longest: int) -> Outline:
    """Begin a section at each definition and after it, but not in one that need not be cut."""
    offsets = [0, *accumulate(len(line) + 1 for line in lines)]
    sections: dict[int, Heading] = {}
    signatures: dict[int, str] = {}
    around: list[Definition] = []
    deepest = 0
    for one in syntax.definitions:
        del around[one.depth :]
        end_of_outer = around[-1].end if around else len(lines)
        around.append(one)
        if one.depth > deepest:
            continue
        heading = tuple(each.title for each in around)
        sections[one.start] = heading
        signatures[one.start] = one.signature
        if one.end < end_of_outer:
            sections[one.end] = heading[:-1]
        is_whole = offsets[one.end] - offsets[one.start] <= longest
        deepest = one.depth if is_whole else one.depth + 1
    names = {(one.name_line, one.name) for one in syntax.definitions}
    return Outline(
        sections=sections or _paragraphs(lines),
        names=sorted(names.union(syntax.constants)),
        signatures=signatures,
        seams=syntax.seams,
    )


_CLOSES = re.compile(r"\s*(?:$|[)\]}]|(?:else|elif|elsif|except|finally|catch|end|then|do|fi)\b)")


def _indentations(lines: list[str]) -> dict[int, int]:
    """Return the indentation of each line that may begin a statement."""
    return {
        number: len(line) - len(line.lstrip())
        for number, line in enumerate(lines)
        if not _CLOSES.match(line)
    }


# Prose ------------------------------------------------------------------------------------------


class _Titles:
    """The titles of a text, each below those of a lower level."""

    def __init__(self) -> None:
        self._sections: dict[int, Heading] = {}
        self._bare: set[int] = set()
        self._above: list[tuple[int, str]] = []
        self._open: int | None = None  # the section that has no text so far

    def add(self, line: int, level: int, title: str) -> None:
        """Begin a section; a title directly below one of a lower level joins its section."""
        deeper = bool(self._above) and self._above[-1][0] < level
        self._above = [above for above in self._above if above[0] < level]
        self._above.append((level, title[:_LONGEST_TITLE]))
        if self._open is None or not deeper:
            self._open = line
            self._bare.add(line)
        self._sections[self._open] = tuple(title for _, title in self._above if title)

    def add_text(self) -> None:
        """Note that the section has a text."""
        if self._open is not None:
            self._bare.discard(self._open)
            self._open = None

    def outline(self) -> Outline:
        """Return the outline of the text."""
        return Outline(self._sections, frozenset(self._bare))


_LONGEST_TITLE = 100
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_TITLE_IN_FRONT = re.compile(r"title\s*[:=]\s*[\"']?(.*?)[\"']?\s*$")


def _markdown(lines: list[str]) -> Outline:
    """Begin a section at each heading of Markdown outside fenced code and front matter."""
    titles = _Titles()
    fence = ""
    number = _front_matter(lines, titles)
    while number < len(lines):
        line = lines[number]
        mark = _fence(line)
        if fence:
            closes = mark.startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence
        elif mark:
            fence = mark
            titles.add_text()
        elif level := _level(line):
            titles.add(number, level, _title(line))
        elif _underline(lines, number) in {"=", "-"}:
            titles.add(number, 1 if lines[number + 1][0] == "=" else 2, line.strip())
            number += 1
        elif line.strip():
            titles.add_text()
        number += 1
    return titles.outline()


def _front_matter(lines: list[str], titles: _Titles) -> int:
    """Add the title in the front matter and return its end; 0 without one."""
    mark = lines[0].rstrip()
    if mark not in {"---", "+++"} or mark not in lines[1:]:
        return 0
    end = lines.index(mark, 1)
    found = (_TITLE_IN_FRONT.match(line) for line in lines[1:end])
    titles.add(0, 1, next((match[1] for match in found if match), ""))
    return end + 1


def _fence(line: str) -> str:
    """Return the backticks or tildes of a code fence in `line`, else ""."""
    match = _FENCE.match(line)
    if match is None or (match[1][0] == "`" and "`" in line[match.end() :]):
        return ""
    return match[1]


def _level(line: str) -> int:
    """Return the level of the ATX heading in `line`; 0 if there is none."""
    start = line[:10].lstrip(" ")
    rest = start.lstrip("#")
    level = len(start) - len(rest)
    opens = len(line[:10]) - len(start) <= 3 and (not rest or rest[0] in " \t")
    return level if 1 <= level <= 6 and opens else 0


def _title(line: str) -> str:
    """Return the text of the ATX heading in `line` without its marks."""
    text = line.strip().lstrip("#").strip()
    body = text.rstrip("#")
    if not body or body[-1] in " \t":  # only then are the trailing marks a closing sequence
        text = body.rstrip()
    return text


_RULE = re.compile(r"([=\-`:'\"~^_*+#<>.])\1{2,}\s*$")


def _underline(lines: list[str], number: int) -> str:
    """Return the character that underlines the title in the line `number`, else ""."""
    line = lines[number]
    if number + 1 == len(lines) or not line[:1].strip() or line[0] in "|-*+>":
        return ""
    rule = _RULE.match(lines[number + 1])
    return rule[1] if rule and (number == 0 or not lines[number - 1].strip()) else ""


def _restructured(lines: list[str]) -> Outline:
    """Begin a section at each title of reStructuredText, which a line below it marks, and maybe one
    above it."""
    titles = _Titles()
    levels: dict[tuple[str, bool], int] = {}
    number = 0
    while number < len(lines):
        over = _RULE.match(lines[number])
        is_between = bool(over) and lines[number + 2 : number + 3] == [lines[number]]
        mark = over[1] if over and is_between else _underline(lines, number)
        if mark:
            level = levels.setdefault((mark, is_between), len(levels) + 1)
            titles.add(number, level, lines[number + is_between].strip())
            number += 1 + is_between
        elif lines[number].strip():
            titles.add_text()
        number += 1
    return titles.outline()


def _pages(lines: list[str]) -> Outline:
    """Begin a section at each page, after a form feed."""
    starts = [number for number, line in enumerate(lines) if line.startswith("\f")]
    return Outline({start: (f"page {page}",) for page, start in enumerate([0, *starts], 1)})


_MARKDOWN = (".md", ".markdown", ".mdx", ".ipynb", ".htm", ".html", ".docx")
_PLAIN = (".txt", ".adoc", ".org", ".tex", "")
_PROSE: dict[str, Callable[[list[str]], Outline]] = {
    **dict.fromkeys(_MARKDOWN, _markdown),
    **dict.fromkeys(_PLAIN, lambda lines: Outline({})),
    ".rst": _restructured,
    ".pdf": _pages,
}
"""What reads the outline of a text by its file extension; documents are read as Markdown."""
