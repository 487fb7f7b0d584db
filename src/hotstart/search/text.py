"""The text of a file: in which encoding it is, and whether people wrote it to be read."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from typing import Literal

from hotstart._lazy import require

Reason = Literal[
    "another repository",
    "binary",
    "data",
    "generated",
    "hidden",
    "link",
    "lock file",
    "minified",
    "name is not Unicode",
    "needs hotstart[documents]",
    "not a regular file",
    "too large",
    "unreadable",
]


class SkippedFile(Exception):
    """A file that is not indexed, with the reason."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason)


PROBE = 8192
"""Leading bytes in which a NUL means binary, as in git, or UTF-16."""

_MARKS = (  # the longer mark begins like a shorter one
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)

# Control characters that no text has: not tab, line and page ends, and escape, which colours logs.
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffe\uffff]")


def is_binary(probe: bytes) -> bool:
    """Return whether a file that begins with `probe` is no text, whatever follows."""
    return b"\0" in probe and _utf_of(probe) is None


def decode(data: bytes) -> str:
    """Return the text of a file; raise SkippedFile if it is binary."""
    if is_binary(data[:PROBE]):
        raise SkippedFile("binary")
    codec = _utf_of(data[:PROBE])
    # Japanese mail (ISO-2022-JP) is ASCII but for its escapes.
    if codec is None and b"\x1b$" not in data:
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-8-sig")
    try:
        text = data.decode(codec or _codepage_of(data))
    except UnicodeDecodeError:
        raise SkippedFile("binary") from None
    if _NO_TEXT.search(text):
        raise SkippedFile("binary")
    return text.removeprefix("\ufeff")


def _utf_of(probe: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 of `probe`; None for another encoding.

    Without a mark, text has its script's few high bytes and those of spaces, on one side only.
    """
    for mark, codec in _MARKS:
        if probe.startswith(mark):
            return codec
    for codec, high, low in (
        ("utf-16-le", probe[1::2], probe[::2]),
        ("utf-16-be", probe[::2], probe[1::2]),
    ):
        most = sum(count for _, count in Counter(high).most_common(3))
        if high.count(0) * 20 >= len(high) > 0 == low.count(0) and most * 10 >= len(high) * 9:
            return codec
    return None


_RUN = re.compile(rb"[\x80-\xff]{3,}")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def _codepage_of(data: bytes) -> str:
    """Return the encoding, with 8 bits a unit, of text that is not UTF-8.

    Few letters outside ASCII, each alone, are those of a Western text. Of these charset-normalizer
    knows the encoding less often than not; of texts in other scripts nearly always.
    """
    if _CONTROL.search(data):
        raise SkippedFile("binary")
    others = sum(byte > 127 for byte in data[: PROBE * 8])
    runs = sum(map(len, _RUN.findall(data[: PROBE * 8])))
    if b"\x1b$" not in data and runs * 2 < others < max(6, len(data[: PROBE * 8]) * 0.3):
        return "cp1252"
    best = require("charset_normalizer", extra="search").from_bytes(data).best()
    if best is None:
        raise SkippedFile("binary")
    return str(best.encoding)


_LOCK_FILES = {
    "bun.lockb",
    "conda-lock.yml",
    "go.sum",
    "gradle.lockfile",
    "npm-shrinkwrap.json",
    "package-lock.json",
    "package.resolved",
    "packages.lock.json",
    "pnpm-lock.yaml",
}
_DATA = (".csv", ".geojson", ".jsonl", ".ndjson", ".po", ".pot", ".psv", ".svg", ".tsv", ".xliff")
_DATA_IF_LARGE = (".json", ".plist", ".xml", ".yaml", ".yml")
_LARGE = 100_000  # bytes; what people write in these formats is smaller
_MINIFIED = re.compile(r"[.-]min\.[a-z]+$")
_SOURCE_MAP = re.compile(r"\.(?:[cm]?js|tsx?|css)\.map$")


def kind_by_name(path: str, size: int, *, is_named: bool = False) -> Reason | None:
    """Return why a file called so is not worth reading; None if it is.

    Of files that a glob asks for (`is_named`), as of all in `kind_by_text`, minified ones alone.
    """
    name = os.path.basename(path).lower()
    if _MINIFIED.search(name):
        return "minified"
    if is_named:
        return None
    if name in _LOCK_FILES or name.endswith(".lock"):
        return "lock file"
    if _SOURCE_MAP.search(name) or name.endswith(".snap") or _PACKAGED.search(path):
        return "generated"
    if name.endswith(_DATA) or (name.endswith(_DATA_IF_LARGE) and size > _LARGE):
        return "data"
    return None


# What setuptools writes: a list of all files, and a copy of README.
_PACKAGED = re.compile(r"\.(?:egg|dist)-info[/\\]|(?:^|[/\\])PKG-INFO$")

_SHORT = 2000  # characters; shorter texts cost too little to be judged
_WITHOUT_SPACE = re.compile(r"[!-~]{1000,}")
_LINE_OF_CODE = 200  # characters; a script or style sheet with longer lines was minified
_COMMENT = re.compile(r"\s*(?:$|//|#|/?\*|--|;|<!--|<\?|%|\"\"\"|'''|\(\*|\{-)")
_GENERATED = re.compile(
    r"(?is)@generated\b|\bcode generated by\b|\bauto-?(?:matically )?generated (?:file|by)\b"
    r"|\bgenerated\b.{0,200}?\bdo not (?:edit|modify|change)\b"
    r"|\bdo not (?:edit|modify|change)\b.{0,200}?\bgenerated\b"
)
_PROSE = (".adoc", ".htm", ".html", ".ipynb", ".markdown", ".md", ".org", ".rst", ".txt")


def kind_by_text(path: str, text: str, *, is_named: bool = False) -> Reason | None:
    """Return why nobody would look for this text; None if somebody may."""
    name = path.lower()
    is_source = not name.endswith(_PROSE)
    if is_source and not is_named and _GENERATED.search(_leading_comment(text)):
        return "generated"
    if len(text) < _SHORT or name.endswith(".ipynb"):
        return None
    if _is_minified(name, text):
        return "minified"
    sample = text[:: len(text) // PROBE + 1]  # from all of it: a source may begin with a table
    digits = sum(map(str.isdigit, sample))
    if not is_named and digits * 2 > len(sample) - sum(map(str.isspace, sample)):
        return "data"
    return None


def _is_minified(name: str, text: str) -> bool:
    is_web = name.endswith((".js", ".mjs", ".cjs", ".css"))
    if is_web and len(text) > _LINE_OF_CODE * (text.count("\n") + 1):
        return True
    return sum(map(len, _WITHOUT_SPACE.findall(text))) * 2 > len(text)


def _leading_comment(text: str) -> str:
    """Return the comment at the head of a source, where generators say that they wrote it."""
    lines = text[:4000].split("\n")
    end = next((n for n, line in enumerate(lines) if not _COMMENT.match(line)), len(lines))
    return "\n".join(lines[:end])
