"""Regular expressions that take no time to speak of: RE2 matches in linear time.

Patterns of a foreign folder, and those of a user, may be made to take for ever.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hotstart._lazy import require
from hotstart.errors import InvalidInput

_MEMORY = 64 << 20  # bytes of RE2's automata, for folders with thousands of patterns


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options


class PatternSet:
    """Expressions that are matched together, each with the number of its line."""

    def __init__(self, fold_case: bool) -> None:
        self._re2 = require("re2", extra="search")
        options = _options(self._re2)
        options.encoding = self._re2.Options.Encoding.LATIN1  # a byte is a character
        options.dot_nl = True
        options.case_sensitive = not fold_case
        self._set = self._re2.Set.FullMatchSet(options)
        self._numbers: list[int] = []

    def add(self, expression: bytes, number: int) -> bool:
        """Add `expression`; return False if RE2 cannot compile it."""
        try:
            self._set.Add(expression)
        except self._re2.error:
            return False
        self._numbers.append(number)
        return True

    def compile(self) -> None:
        """Prepare the set, to which nothing can be added then."""
        if self._numbers:
            self._set.Compile()

    def match(self, text: bytes) -> list[int]:
        """Return the numbers of the expressions that match `text`."""
        found = self._set.Match(text) if self._numbers else None
        return [self._numbers[index] for index in found or ()]


class Expression:
    """A regular expression over the lines of a text, in the syntax of RE2.

    `^` and `$` are the ends of a line, and a dot is no line end.

    Raises:
        InvalidInput: RE2 cannot compile `pattern`.
    """

    def __init__(self, pattern: str) -> None:
        re2 = require("re2", extra="search")
        if not isinstance(pattern, str) or not pattern:
            raise InvalidInput("regex", got=pattern, expected="a regular expression of RE2")
        try:
            self._compiled = re2.compile(f"(?m){pattern}", _options(re2))
        except re2.error as error:
            reason = error.args[0].decode(errors="replace").partition(":")[0]
            expected = f"a regular expression of RE2 ({reason})"
            raise InvalidInput("regex", got=pattern, expected=expected) from None
        self.literals = _literals(pattern)
        """Texts that each match holds, as far as the pattern shows them plainly."""

    def lines(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the first and the last line of each match, counted from 0.

        Of matches that begin in one line the first counts; one of no character does not.
        """
        line = position = 0
        reached = -1
        for match in self._compiled.finditer(text):
            start, end = match.span()
            if start == end:
                continue
            line += text.count("\n", position, start)
            last = line + text.count("\n", start, end - 1)
            position = start
            if line > reached:
                reached = last
                yield line, last

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of each match in `line`."""
        yield from (each.span() for each in self._compiled.finditer(line) if each[0])


_PIECE = re.compile(
    r"\\(?P<escaped>[^\w\s])|(?P<set>\\[bBdDsSwWAzntr]|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<repeated>[*?]|\{\d*,?\d*\})|(?P<plain>[^\\.^$|?*+()\[\]{}])|(?P<other>.)",
    re.DOTALL,
)


def _literals(pattern: str) -> list[str]:
    """Return the texts that each match of `pattern` holds, where that is simple to see."""
    runs = [""]
    depth = 0
    for piece in _PIECE.finditer(pattern):
        letter = piece["escaped"] or piece["plain"]
        if piece["other"] in {"|", "\\"} or pattern.startswith("(?", piece.start()):
            return []
        depth += {"(": 1, ")": -1}.get(piece["other"], 0)
        if letter and depth == 0:
            runs[-1] += letter
            continue
        if piece["repeated"]:
            runs[-1] = runs[-1][:-1]
        if runs[-1]:
            runs.append("")
    return [run for run in runs if run]
