"""What a search returns: hits, best first, and how they were found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotstart.types import Mode


@dataclass(frozen=True)
class Place:
    """Another chunk that a hit stands for: of the same file, or nearly equal in another."""

    path: str
    start_line: int
    end_line: int
    heading: str


@dataclass(frozen=True)
class Hit:
    """The best chunk of a file that answers a query.

    Attributes:
        folder: the indexed folder, or the one above several.
        path: the file, relative to the folder, with forward slashes.
        start_line: the chunk's first line, counted from 1.
        end_line: its last line.
        heading: headings or definitions around it, such as "Guide > Install"; may be empty.
        text: text of the chunk at the last update of the index.
        score: how well the chunk answers, from 0 to 1: the share of the query's words in it, or
            the cosine of its vector to the query's if that is higher. Scores compare between
            queries and indexes; the order of the hits follows `parts`.
        found_by: `lexical`, `semantic` or both.
        parts: what the order of the hits follows: the sum of these, by name.
        others: other places that answer, best first: of this file, or nearly equal ones.
        is_current: whether the file has the size and the time that it had when it was indexed.
    """

    folder: str
    path: str
    start_line: int
    end_line: int
    heading: str
    text: str
    score: float
    found_by: tuple[str, ...]
    parts: dict[str, float]
    others: tuple[Place, ...]
    is_current: bool

    @property
    def file(self) -> str:
        """The absolute path of the file."""
        return os.path.join(self.folder, self.path)


@dataclass(frozen=True)
class Answer:
    """The hits of one search, best first, and how they were found.

    Attributes:
        mode: `hybrid`, `lexical`, or `semantic` if no chunk contains a word of the query.
        reason: why the answer is not hybrid over the whole index; None if it is.
        seconds: duration of the search.
        model: the model of the vectors; None for a lexical answer.
        engine: the engine of the model.
        query: the text that was searched: the query without its filters, misspelt words replaced,
            or what each match of a regular expression holds.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str | None
    seconds: float
    model: str | None
    engine: str | None
    query: str
