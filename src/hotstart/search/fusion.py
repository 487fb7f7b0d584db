"""Fusion of the lexical and the semantic ranking: pure functions.

`linear`, the default, adds scores: every candidate has its exact score of both rankings. The unit
is the mean of the ten best BM25 scores. The weight of the cosine falls to 0 for a query that the
model cannot read, such as Russian with an English model. `rrf` adds reciprocal ranks instead.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from hotstart.search.words import normalized, words_of

if TYPE_CHECKING:
    from hotstart.types import Coverage

Fusion = Literal["linear", "rrf"]

SEMANTIC = 4.0
"""Units that a cosine of 1 is worth, with a model whose cosines spread like all-MiniLM-L6-v2's."""

FEEDBACK = 3
"""Nearest chunks that the vector of the query is moved to."""

READ = 200
"""Characters of a query that tell whether the model reads it; all models read as many."""

_STEP = 0.3  # of their mean
_BEST = 10  # lexical scores whose mean is the unit


def unit_of(scores: Iterable[float]) -> float:
    """Return the unit of lexical scores: the mean of the ten best, or 1 without any."""
    best = heapq.nlargest(_BEST, (score for score in scores if score > 0))
    return sum(best) / len(best) if best else 1.0


def moved(query: Sequence[float], nearest: Sequence[Sequence[float]]) -> list[float]:
    """Return the unit vector `query`, moved towards the vectors of the `nearest` chunks.

    Rocchio, "Relevance feedback in information retrieval", 1971, with what was found first for
    relevant (pseudo-relevance feedback).
    """
    step = _STEP / max(1, len(nearest))
    sums = [sum(column) for column in zip(*nearest, strict=True)] or [0.0] * len(query)
    vector = [value + step * total for value, total in zip(query, sums, strict=True)]
    length = math.hypot(*vector) or 1.0
    return [value / length for value in vector]


_LETTERS = 5  # of a word, that a tokenizer of its language needs one or two tokens for
_UNKNOWN = 4  # tokens that a letter counts for which the vocabulary lacks
_FLUENT = 2.0  # tokens a word, up to which a query is read
_ILLEGIBLE = 3.0  # and from which it is not
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")  # a character, a word


def legibility(text: str, coverage: Coverage) -> float:
    """Return how well a model reads `text`, from 0 to 1, by how its tokenizer does.

    A tokenizer cuts words of a language that it was not made for into many tokens, or knows no
    token for them: its fertility is high.
    """
    expected = 0.0
    for word in words_of(normalized(text)):
        ideographs = len(_CJK.findall(word))
        rest = len(word) - ideographs
        expected += ideographs + (max(1.0, rest / _LETTERS) if rest else 0.0)
    fertility = (coverage.tokens + _UNKNOWN * coverage.unknown) / (expected or 1.0)
    return min(1.0, max(0.0, (_ILLEGIBLE - fertility) / (_ILLEGIBLE - _FLUENT)))


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[int]], k: int = 60
) -> list[tuple[int, float]]:
    """Return the ids of all `rankings` with their fused score, best first.

    The score of an id is the sum of 1 / (k + rank) over the rankings that contain it, with ranks
    from 1. If a ranking repeats an id, its best rank counts. Of equal scores the lower id comes
    first.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", SIGIR 2009, which also gives k = 60.
    """
    terms: dict[int, list[float]] = {}
    for ranking in rankings:
        for rank, identifier in enumerate(dict.fromkeys(ranking), start=1):
            terms.setdefault(identifier, []).append(1 / (k + rank))
    scores = [(identifier, math.fsum(parts)) for identifier, parts in terms.items()]
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))
