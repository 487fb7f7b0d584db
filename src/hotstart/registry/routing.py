"""Which version answers a request: by weight, and for one key always the same. Pure."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect
from collections.abc import Mapping, Sequence


def draw(cumulative: Sequence[float], share: float) -> int:
    """Return the place whose part of the sum `share`, 0 to 1, falls into.

    `cumulative` are the sums of the weights up to each place.
    """
    return bisect(cumulative, share * cumulative[-1], 0, len(cumulative) - 1)


def choose(weights: Mapping[str, float], model: str, key: str) -> str:
    """Return the version that answers `key`, each getting its share of all keys.

    Weighted rendezvous hashing (Schindelhauer and Schomaker 2005, "Weighted Distributed Hash
    Tables"): the version with the least -ln(h) / weight, h uniform in (0, 1) by version and key.
    A key stays with its version unless that one loses weight or another gains it.

    Args:
        weights: of each version, at least one of them positive; they need not add up to anything.
        model: takes part in the hash, so that the same keys fall differently for each model.
        key: of the request, such as a user's name.
    """
    positive = {version: weight for version, weight in weights.items() if weight > 0}
    return min(positive, key=lambda v: (-math.log(_uniform(model, v, key)) / positive[v], v))


def _uniform(*parts: str) -> float:
    """A number in (0, 1) by the hash of `parts`."""
    digest = hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8)
    return (int.from_bytes(digest.digest(), "big") + 0.5) / 2**64
