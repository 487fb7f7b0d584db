"""nDCG@10: how near a ranking comes to the best one, looking at its first ten distinct names."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

DEPTH = 10


def ndcg(ranking: Sequence[str], relevant: Mapping[str, float]) -> float:
    """Return nDCG@10 of distinct names with graded relevance."""
    gains = [relevant.get(name, 0.0) for name in list(dict.fromkeys(ranking))[:DEPTH]]
    best = sorted(relevant.values(), reverse=True)[:DEPTH]
    ideal = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(best))
    found = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
    return found / ideal if ideal else 0.0


def summary(values: Sequence[float]) -> str:
    """Return the mean and its standard error."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {error:.3f}"
