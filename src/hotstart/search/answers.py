"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hotstart.types import Mode


@dataclass(frozen=True)
class Hit:
    """One chunk that answers.

    Attributes:
        path: the file, relative to the indexed folder, with forward slashes.
        start_line: the chunk's first line, counted from 1.
        end_line: its last line.
        heading: where in the file it stands, such as "Guide > Install"; "" where nothing says so.
        text: the chunk as it was when the index was last updated.
        score: higher is better; scores compare within one answer only.
        found_by: `lexical`, `semantic` or both.
    """

    path: str
    start_line: int
    end_line: int
    heading: str
    text: str
    score: float
    found_by: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The hits of one search, best first, and how they were found.

    Attributes:
        mode: `hybrid`, `lexical`, or `semantic` where no chunk holds a word of the query.
        reason: why this is not a hybrid answer over the whole index; None where it is.
        seconds: how long the search took.
        model: the model whose vectors took part; None in a lexical answer.
        engine: what ran that model.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str | None
    seconds: float
    model: str | None
    engine: str | None
