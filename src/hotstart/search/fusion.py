"""Many rankings into one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[int]], k: int = 60
) -> list[tuple[int, float]]:
    """Return the ids of all `rankings` with their fused score, best first.

    An id scores 1 / (k + rank) for each ranking that has it, the best rank being 1; where a ranking
    repeats an id, its best rank counts. The order of the rankings does not matter; of equal scores
    the lower id comes first.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", SIGIR 2009, which also gives k = 60.
    """
    terms: dict[int, list[float]] = {}
    for ranking in rankings:
        for rank, identifier in enumerate(dict.fromkeys(ranking), start=1):
            terms.setdefault(identifier, []).append(1 / (k + rank))
    scores = [(identifier, math.fsum(parts)) for identifier, parts in terms.items()]
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))
