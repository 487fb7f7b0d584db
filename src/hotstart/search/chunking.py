"""Split a text into chunks along its structure."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple


class Definitions(NamedTuple):
    """The patterns of definitions in one language.

    Attributes:
        pattern: matches a line that opens a definition; its first group with a text is the name.
        above: matches the start of a line that belongs to the definition below it.
    """

    pattern: re.Pattern[str]
    above: tuple[str, ...]


_SLASHES = ("//", "/*", "*", "@")
_HASHES = ("#",)


def _language(above: tuple[str, ...], *forms: str) -> Definitions:
    return Definitions(re.compile("|".join(forms)), above)


_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|override|open"
    r"|async|virtual|synchronized|native|default|readonly|suspend|inline|data|implicit|lazy|case)"
    r"\s+)"
)
_TYPES = r"(?:class|interface|enum|record|struct|trait|object|@interface|extension|protocol)"

_JAVASCRIPT = _language(
    _SLASHES,
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"((?:function\b\s*\*?|class|interface|enum|type|namespace)\s*[\w$]+)",
    r"(?:export\s+)?((?:const|let|var)\s+[\w$]+)[^=]*=\s*(?:async\b\s*)?"
    r"(?:function\b|\(|[\w$]+\s*=>)",
)
_JAVA = _language(
    _SLASHES,
    rf"\s*{_MODIFIERS}*({_TYPES}\s+\w+)",
    rf"\s*{_MODIFIERS}*((?:fun|func|def)\s+[\w.<>]+)",
    rf"\s+{_MODIFIERS}+(?:[\w<>\[\],.?]+\s+)*(\w+)\s*\(",
)
_C = _language(
    ("//", "/*", "*", "template"),
    r"(?:typedef\s+)?((?:struct|class|enum|union|namespace)\s+[\w:]+)[^;]*$",
    r"(?!return\b|else\b|if\b|for\b|while\b|switch\b|case\b)(?=[A-Za-z_])"
    r"(?:[\w:<>,*&\s]*[\s*&>])?([~A-Za-z_][\w:~]*)\s*\([^;]*$",
)

DEFINITIONS: dict[str, Definitions] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), _JAVASCRIPT),
    **dict.fromkeys((".java", ".kt", ".kts", ".scala", ".cs", ".swift", ".dart"), _JAVA),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), _C),
    ".go": _language(("//",), r"(func\s*(?:\([^)]*\)\s*)?\w+)", r"(type\s+\w+)"),
    ".rs": _language(
        ("//", "#["),
        r"\s*(?:pub(?:\([^)]*\))?\s+)?(?:(?:default|async|unsafe|const)\s+|extern\s+\"[^\"]*\"\s+)*"
        r"((?:fn|struct|enum|trait|union|mod|macro_rules!)\s+\w+|impl\b[^{]*)",
    ),
    ".rb": _language(_HASHES, r"\s*((?:class|module|def)\s+[\w.:?!]+)"),
    ".php": _language(
        _SLASHES, rf"\s*{_MODIFIERS}*((?:function|class|interface|trait|enum)\s+&?\w+)"
    ),
    ".lua": _language(("--",), r"\s*(?:local\s+)?(function\s+[\w.:]+)"),
    ".sql": _language(("--",), r"(?i:\s*(create\s+(?:or\s+replace\s+)?\w+\s+[\w.\"]+))"),
    **dict.fromkeys(
        (".sh", ".bash", ".zsh"),
        _language(_HASHES, r"\s*(function\s+[\w:-]+)", r"\s*([\w:-]+)\s*\(\)"),
    ),
    # For Python that does not parse: another version, or unfinished.
    **dict.fromkeys(
        (".py", ".pyi", ".pyw"),
        _language(("#", "@"), r"(?:    )?(?:async\s+)?((?:class|def)\s+\w+)"),
    ),
}
"""By file extension, in lower case."""


Heading = tuple[str, ...]
"""A section's place in its text, outermost first: ("class Pool", "def instance")."""

Outline = dict[int, Heading]
"""The heading of each section by the line, counted from 0, at which it begins."""


def python_outline(lines: list[str]) -> Outline | None:
    """Return the outline of the module with these `lines`; None if they are not Python.

    Decorators and comments directly above belong to a definition. Code after a definition begins a
    section of its parent.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about escapes in the indexed text
            tree = _parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    outline: Outline = {}
    _mark(tree.body, (), 0, lines, outline)
    return outline


def _parse(source: str) -> ast.Module:
    """Parse Python; retry the SystemError of CPython 3.11 when threads race (gh-106905)."""
    while True:
        try:
            return ast.parse(source)
        except SystemError as error:
            if "recursion depth mismatch" not in str(error):
                raise


def _mark(
    body: Sequence[ast.stmt],
    holder: Heading,
    floor: int,
    lines: list[str],
    outline: Outline,
) -> None:
    """Add the definitions in `body`, the statements of `holder`, which starts at line `floor`."""
    for node in body:
        end = node.end_lineno or node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            start = min([node.lineno, *(mark.lineno for mark in node.decorator_list)]) - 1
            while start > floor and lines[start - 1].lstrip().startswith("#"):
                start -= 1
            is_class = isinstance(node, ast.ClassDef)
            heading = (*holder, f"{'class' if is_class else 'def'} {node.name}")
            outline[start] = heading
            if is_class and not holder:
                _mark(node.body, heading, node.lineno, lines, outline)
            if end < len(lines):
                outline[end] = holder
        floor = end


_MARKDOWN = {".md", ".markdown", ".mdx"}
_PYTHON = {".py", ".pyi", ".pyw"}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_READ = 200  # leading characters of a line that are searched for a definition
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
    """Begin a section after each blank line."""
    return {
        number: ()
        for number in range(1, len(lines))
        if lines[number].strip() and not lines[number - 1].strip()
    }


def _headings(lines: list[str]) -> Outline:
    """Begin a section at each ATX heading of Markdown outside fenced code.

    A heading directly above a deeper heading joins its section.
    """
    outline: Outline = {}
    above: list[tuple[int, str]] = []
    fence, bare = "", None  # bare: line of a heading without text below it so far
    for number, line in enumerate(lines):
        mark = _fence(line)
        if fence:
            closes = mark.startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence
        elif mark:
            fence = mark
            bare = None
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
    return text[:_LONGEST_NAME]


def _definitions(lines: list[str], language: Definitions) -> Outline:
    """Begin a section at each definition, including comments and attributes above it."""
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


LIMIT = 1200
"""Characters of the longest chunk; about what the smaller embedding models read."""

_SMALL = 400  # shorter sections join a neighbour under the same heading
_TINY = 100  # shorter sections join a neighbour under another heading, up to _SMALL
_LONGEST_HEADING = 160

_NEWLINE = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Chunk:
    """A part of a text, small enough to embed.

    A line longer than a chunk is split between chunks.
    """

    text: str
    heading: str
    start_line: int
    end_line: int


@dataclass(frozen=True)
class _Section:
    """Lines [start, end), counted from 0; the first and the last are not blank."""

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
    """Return the sections of the text; small ones are joined to a neighbour."""
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
    """Return `section` without blank lines around it; None if it is blank."""
    start = section.start
    end = section.end
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
    """Return one heading for two neighbours: ("Guide", "Install") and ("Guide", "Use") give
    ("Guide", "Install, Use"); a heading and one below it give the lower one."""
    shared = 0
    while shared < min(len(before), len(after)) and before[shared] == after[shared]:
        shared += 1
    own = [" > ".join(heading[shared:]) for heading in (before, after)]
    inner = ", ".join(part for part in own if part)
    return (*before[:shared], inner) if inner else before


def _cut(lines: list[str], section: _Section) -> Iterator[Chunk]:
    """Yield the chunks of `section`: the whole if it fits, else cut at line ends, at a blank line
    if one is near, and within a line only if that line alone is too long."""
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
    """Return the end of the lines from `start` on that fit into one chunk."""
    end = start
    size = -1
    while end < last and size + 1 + len(lines[end]) <= LIMIT:
        size += 1 + len(lines[end])
        end += 1
    return end


def _seam(lines: list[str], start: int, end: int) -> int:
    """Return the end of the last blank line in the second half of these lines, else `end`."""
    for candidate in range(end, start + (end - start) // 2, -1):
        if not lines[candidate - 1].strip():
            return candidate
    return end


def _pieces(line: str) -> Iterator[str]:
    for start in range(0, len(line), LIMIT):
        piece = line[start : start + LIMIT]
        if piece.strip():
            yield piece
