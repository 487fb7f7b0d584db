"""What people read of a notebook, an HTML page, a PDF or a Word document.

The lines of notebooks and pages stand where they stand in the file.
"""

from __future__ import annotations

import html
import io
import json
import logging
import os
import re
from bisect import bisect_right
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import accumulate
from typing import Any

from hotstart._lazy import require
from hotstart.errors import MissingExtra
from hotstart.search.text import SkippedFile

logger = logging.getLogger(__name__)

_LARGEST = 1_000_000
_LARGEST_WITH_PICTURES = 20_000_000
_NEWLINE = re.compile(r"\r\n|\r")


def largest(path: str) -> int:
    """Return the bytes of the largest file `path` that is read; larger ones are data."""
    is_picture_book = is_document(path) or _extension(path) == ".ipynb"
    return _LARGEST_WITH_PICTURES if is_picture_book else _LARGEST


def readable(path: str, text: str) -> str:
    """Return what people read of `text`, the content of the file `path`.

    Raises:
        SkippedFile: it is no notebook, although it is called so.
    """
    if _extension(path) == ".ipynb":
        return _notebook(_NEWLINE.sub("\n", text))
    if _extension(path) in {".htm", ".html", ".xhtml"}:
        return _page(_NEWLINE.sub("\n", text))
    return text


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()


# Notebooks --------------------------------------------------------------------------------------


class _Located(str):
    """A string of a JSON text, which begins at the character `at`."""

    at: int = 0


def _located(text: str, start: int, strict: bool = True) -> tuple[_Located, int]:
    value, end = json.decoder.scanstring(text, start, strict)  # type: ignore[attr-defined]
    located = _Located(value)
    located.at = start
    return located, end


def _notebook(text: str) -> str:
    """Return the cells of a notebook as Markdown without their outputs.

    A line is where it is in the file, if each line of a source has a line of its own there, as
    Jupyter writes it. Code is fenced in the lines around it.
    """
    decoder: Any = json.JSONDecoder()
    decoder.parse_string = _located
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    try:
        cells = list(_cells(decoder.decode(text)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SkippedFile("unreadable") from None
    ends = list(accumulate(len(line) + 1 for line in text.split("\n")))
    lines = [""] * len(ends)
    heads: list[str] = []
    for is_code, source in cells:
        numbers = [bisect_right(ends, part.at) for part in source]
        texts = [part.removesuffix("\n") for part in source]
        if len(set(numbers)) < len(numbers) or not numbers[0] or "\n" in "".join(texts):
            return _joined(cells)
        if not is_code and all(each.startswith("#") for each in texts if each):
            heads += filter(None, texts)  # a title goes to what follows, beyond the outputs
            continue
        for number, each in zip(numbers, texts, strict=True):
            lines[number] = each
        first = numbers[0]
        if is_code:
            first -= 1
            lines[first] = lines[numbers[-1] + 1] = "```"
        for head in reversed(heads):
            first = max(first - 1, 0)
            lines[first] = f"{head} {lines[first]}".rstrip()
        heads = []
    return "\n".join([*lines, *heads])


def _cells(notebook: Any) -> Iterator[tuple[bool, list[_Located]]]:
    """Yield for each cell whether it is code, and the lines of its source."""
    for cell in notebook["cells"]:
        source = cell["source"]
        source = [source] if isinstance(source, str) else source
        if any(part.strip() for part in source):
            yield cell["cell_type"] == "code", source


def _joined(cells: list[tuple[bool, list[_Located]]]) -> str:
    """Return the cells below each other, with line numbers of their own."""
    sources = ((is_code, "".join(source).rstrip("\n")) for is_code, source in cells)
    return "\n\n".join(f"```\n{each}\n```" if is_code else each for is_code, each in sources)


# Documents --------------------------------------------------------------------------------------


def is_document(path: str) -> bool:
    """Return whether the file `path` is a PDF or a Word document."""
    return _extension(path) in {".pdf", ".docx"}


def document_text(path: str, data: bytes) -> str:
    """Return the text of a PDF, a form feed before each page but the first, or of a Word document
    as Markdown.

    Raises:
        SkippedFile: the library is missing, or the document is damaged or encrypted.
    """
    read = _pdf if _extension(path) == ".pdf" else _word
    try:
        return read(io.BytesIO(data))
    except MissingExtra:
        raise SkippedFile("needs hotstart[documents]") from None
    except Exception as error:  # noqa: BLE001 - of many kinds, where a document is damaged
        logger.info("%s cannot be read: %s", path, error)
        raise SkippedFile("unreadable") from None


def _pdf(file: io.BytesIO) -> str:
    reader = require("pypdf", extra="documents").PdfReader(file)
    return "\n\f".join(page.extract_text() for page in reader.pages)


_HEADING = re.compile(r"Heading ([1-6])")


def _word(file: io.BytesIO) -> str:
    document = require("docx", extra="documents").Document(file)
    parts = []
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            rows = [" | ".join(cell.text for cell in row.cells) for row in block.rows]
            parts.append("\n".join(rows))
            continue
        style = block.style.name if block.style else ""
        heading = _HEADING.match(style)
        level = int(heading[1]) if heading else int(style == "Title")
        mark = "- " if style.startswith("List") else f"{'#' * level} ".lstrip()
        parts.append(mark + block.text)
    return "\n\n".join(parts)


# HTML -------------------------------------------------------------------------------------------

_UNREAD = {"script", "style", "template", "svg"}
_INLINE = {"a", "abbr", "b", "code", "em", "i", "kbd", "mark", "q", "s", "small", "span", "strong"}
_INLINE |= {"sub", "sup", "tt", "u", "var"}
_READ_ATTRIBUTES = {"alt", "title", "placeholder", "aria-label"}
_MARKS = {f"h{level}": f"{'#' * level} " for level in range(1, 7)} | {"li": "- "}


def _page(text: str) -> str:
    """Return the text of an HTML page; headings and items of lists are marked as in Markdown."""
    page = _Page(text.count("\n") + 1)
    try:
        page.feed(text)
        page.close()
    except (AssertionError, ValueError):  # markup that html.parser gives up on
        return text
    return page.text()


class _Page(HTMLParser):
    """Collects the text of a page in its lines."""

    def __init__(self, lines: int) -> None:
        super().__init__(convert_charrefs=False)  # so that each text has its position
        self._lines = [""] * lines
        self._verbatim: set[int] = set()
        self._unread = 0
        self._preformatted = 0
        self._mark = ""

    def text(self) -> str:
        """Return the lines."""
        return "\n".join(
            line.rstrip() if number in self._verbatim else " ".join(line.split())
            for number, line in enumerate(self._lines)
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin what `tag` stands for."""
        self._unread += tag in _UNREAD
        self._preformatted += tag == "pre"
        self._mark = _MARKS.get(tag, self._mark)
        self._separate(tag)
        for name, value in attrs:
            if name in _READ_ATTRIBUTES and value:
                self._add(f" {' '.join(value.split())} ")

    def handle_endtag(self, tag: str) -> None:
        """End what `tag` stands for."""
        self._unread -= tag in _UNREAD and self._unread > 0
        self._preformatted -= tag == "pre" and self._preformatted > 0
        self._separate(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an empty element."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        """Take a text."""
        self._add(data)

    def handle_entityref(self, name: str) -> None:
        """Take a character by its name."""
        self._add(html.unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        """Take a character by its number."""
        self._add(html.unescape(f"&#{name};").replace("\n", " "))

    def _separate(self, tag: str) -> None:
        if tag not in _INLINE:
            self._lines[self.getpos()[0] - 1] += " "

    def _add(self, data: str) -> None:
        if self._unread:
            return
        for number, part in enumerate(data.split("\n"), self.getpos()[0] - 1):
            if self._preformatted:
                self._verbatim.add(number)
            begins = part.strip() and not self._lines[number].strip()
            self._lines[number] += self._mark + part if begins else part
            self._mark = "" if part.strip() else self._mark
