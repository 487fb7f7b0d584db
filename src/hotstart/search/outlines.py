"""Where the sections of a text begin and what they are called, by the kind of text."""

from __future__ import annotations

import os
import re

from hotstart.search.definitions import DEFINITIONS, Definitions
from hotstart.search.python_outline import Outline, python_outline

_MARKDOWN = {".md", ".markdown", ".mdx"}
_PYTHON = {".py", ".pyi", ".pyw"}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_READ = 200  # characters of a line in which a definition is looked for
_LONGEST_NAME = 100


def outline_of(path: str, lines: list[str]) -> Outline:
    """Return the outline of the file `path` with these `lines`. Never raises."""
    extension = os.path.splitext(path)[1].lower()
    outline: Outline | None = None
    if extension in _MARKDOWN:
        outline = _headings(lines)
    elif extension in _PYTHON:
        outline = python_outline(lines)
    if outline is None and extension in DEFINITIONS:
        outline = _definitions(lines, DEFINITIONS[extension])
    return outline or _paragraphs(lines)


def _paragraphs(lines: list[str]) -> Outline:
    """A section begins after each blank line."""
    return {
        number: ()
        for number in range(1, len(lines))
        if lines[number].strip() and not lines[number - 1].strip()
    }


def _headings(lines: list[str]) -> Outline:
    """A section begins at each ATX heading of Markdown that is not within fenced code.

    A heading with nothing below it but a deeper heading opens that one's section.
    """
    outline: Outline = {}
    above: list[tuple[int, str]] = []
    fence, bare = "", None  # bare: the line of a heading that has nothing below it so far
    for number, line in enumerate(lines):
        mark = _fence(line)
        if fence:
            closes = mark.startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence
        elif mark:
            fence, bare = mark, None
        elif level := _level(line):
            deeper = bool(above) and above[-1][0] < level
            above = [heading for heading in above if heading[0] < level]
            above.append((level, _title(line)))
            bare = bare if bare is not None and deeper else number
            outline[bare] = tuple(title for _, title in above if title)
        elif line.strip():
            bare = None
    return outline


def _fence(line: str) -> str:
    """The backticks or tildes with which `line` opens or closes fenced code, else ""."""
    match = _FENCE.match(line)
    if match is None or (match[1][0] == "`" and "`" in line[match.end() :]):
        return ""
    return match[1]


def _level(line: str) -> int:
    """The level of the ATX heading in `line`; 0 where it is none."""
    start = line[:10].lstrip(" ")
    rest = start.lstrip("#")
    level = len(start) - len(rest)
    opens = len(line[:10]) - len(start) <= 3 and (not rest or rest[0] in " \t")
    return level if 1 <= level <= 6 and opens else 0


def _title(line: str) -> str:
    """The text of the ATX heading in `line`, without the marks around it."""
    text = line.strip().lstrip("#").strip()
    body = text.rstrip("#")
    if not body or body[-1] in " \t":  # only then are the trailing marks a closing sequence
        text = body.rstrip()
    return text[:_LONGEST_NAME]


def _definitions(lines: list[str], language: Definitions) -> Outline:
    """A section begins at each definition, with the comments and attributes right above it."""
    outline: Outline = {}
    floor = 0
    for number, line in enumerate(lines):
        match = language.pattern.match(line[:_READ])
        if match is None:
            continue
        start = number
        while start > floor and lines[start - 1].lstrip().startswith(language.above):
            start -= 1
        name = next((group for group in match.groups() if group), match[0])
        outline[start] = (" ".join(name.split())[:_LONGEST_NAME],)
        floor = number + 1
    return outline
