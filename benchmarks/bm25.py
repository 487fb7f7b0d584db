"""Plain BM25 to compare with: bm25s as its documentation opens."""

from __future__ import annotations

import functools
from collections.abc import Sequence


class PlainBM25:
    """An index of `texts` with English stop words, the English stemmer and bm25s' constants."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s
        import Stemmer

        self._size = len(texts)
        stemmer = Stemmer.Stemmer("english")
        self._tokens = functools.partial(
            bm25s.tokenize, stopwords="en", stemmer=stemmer, show_progress=False
        )
        self._index = bm25s.BM25()
        self._index.index(self._tokens(list(texts)), show_progress=False)

    def best(self, query: str, number: int) -> list[int]:
        """Return the positions of the at most `number` best texts that hold a word of `query`."""
        number = min(number, self._size)
        found = self._index.retrieve(self._tokens(query), k=number, show_progress=False)
        places, scores = (rows[0].tolist() for rows in found)
        return [place for place, score in zip(places, scores, strict=True) if score > 0]
