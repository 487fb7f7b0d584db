"""The golden data, and how vectors are held against it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
FAMILIES = DATA / "families"
RERANKERS = DATA / "rerankers"
MODULES = DATA / "modules"
SPARSE = DATA / "sparse"
MULTI_VECTOR = DATA / "multi_vector"


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row with the same row."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    result: NDArray[np.float64] = (a * b).sum(-1) / lengths
    return result


def family_texts() -> list[str]:
    """The texts that every family's golden vectors were made from."""
    entries = json.loads((FAMILIES / "texts.json").read_text())
    return [e["text"] * e.get("times", 1) if isinstance(e, dict) else e for e in entries]


def reranker_pairs() -> list[tuple[str, str]]:
    """The pairs that every reranker's golden scores were made from."""
    texts = family_texts()
    return [(texts[a], texts[b]) for a, b in json.loads((RERANKERS / "pairs.json").read_text())]
