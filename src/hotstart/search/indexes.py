"""`SearchIndexes`: one answer from several indexes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hotstart.concurrency import Deadline
from hotstart.errors import InvalidInput
from hotstart.search.answer import Answer, Hit
from hotstart.search.excerpt import Excerpt
from hotstart.search.index import SearchIndex


class SearchIndexes:
    """Several indexes that are searched as one.

    Each ranks its own files, and that order stays. Between them the score decides, with those parts
    of the rank that mean the same in every index.

    Args:
        indexes: the indexes, with one embedder. Of a file in two of them, one hit is kept.
    """

    def __init__(self, indexes: Sequence[SearchIndex]) -> None:
        if not indexes:
            raise InvalidInput("indexes", got=[], expected="at least one index")
        self._indexes = list({index.home: index for index in indexes}.values())

    def search(
        self,
        query: str = "",
        top_k: int = 10,
        timeout: float | None = None,
        *,
        regex: str | None = None,
        min_score: float = 0.0,
        activation: bool = True,
    ) -> Answer:
        """Return the `top_k` files of all indexes that answer best; see `SearchIndex.search`."""
        began = time.perf_counter()
        deadline = Deadline(timeout)
        answers = [
            index.search(
                query,
                top_k,
                deadline.left,
                regex=regex,
                min_score=min_score,
                activation=activation,
            )
            for index in self._indexes
        ]
        first = next((answer for answer in answers if answer.model), answers[0])
        return replace(
            first,
            query=" ".join(dict.fromkeys(answer.query for answer in answers)),
            hits=tuple(_merged([answer.hits for answer in answers]))[:top_k],
            mode=first.mode if len({answer.mode for answer in answers}) == 1 else "hybrid",
            reason=self._reason(answers),
            seconds=time.perf_counter() - began,
        )

    def excerpt(
        self, query: str, hit: Hit, context: int | None = None, *, regex: str | None = None
    ) -> Excerpt:
        """Return the lines of `hit` with most words of `query`; see `SearchIndex.excerpt`."""
        index = next(index for index in self._indexes if index.path == hit.folder)
        return index.excerpt(query, hit, context, regex=regex)

    def _reason(self, answers: Sequence[Answer]) -> str | None:
        """Return why answers are not hybrid over their whole index, once if all say the same."""
        if len({answer.reason for answer in answers}) == 1:
            return answers[0].reason
        told = zip(self._indexes, answers, strict=True)
        return "; ".join(f"{index.path}: {each.reason}" for index, each in told if each.reason)


def _merged(rankings: Sequence[Sequence[Hit]]) -> Iterator[Hit]:
    """Yield the hits of `rankings`, each time the best of their heads; of a file one hit."""
    waiting = [list(reversed(hits)) for hits in rankings if hits]
    seen: set[str] = set()
    while waiting:
        best = max(waiting, key=lambda hits: _merit(hits[-1]))
        hit = best.pop()
        file = os.path.realpath(hit.file)
        if file not in seen:
            seen.add(file)
            yield hit
        waiting = [hits for hits in waiting if hits]


_ABSOLUTE = ("definition", "path", "test", "example", "document", "declaration", "use")
"""Parts of a rank that mean the same in every index; for the others the score stands."""


def _merit(hit: Hit) -> float:
    """Return how good `hit` is beside one of another index."""
    return hit.score + sum(hit.parts.get(name, 0.0) for name in _ABSOLUTE)
