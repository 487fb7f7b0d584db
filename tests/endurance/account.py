"""What the programs of this folder tell of their own process. Linux only."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL = "all-MiniLM-L6-v2"
_GOLDEN = Path(__file__).parent.parent / "data" / "golden"


def resident_bytes() -> int:
    """The resident set at this moment."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def golden_short() -> tuple[list[str], NDArray[np.float32]]:
    """Short golden texts and sentence-transformers' vectors of them."""
    entries = json.loads((_GOLDEN / "texts.json").read_text(encoding="utf-8"))
    vectors = np.load(_GOLDEN / "vectors.npy")
    chosen = [n for n, e in enumerate(entries) if e["tokens"] <= 24 and e.get("times", 1) == 1]
    return [entries[n]["text"] for n in chosen], vectors[chosen]


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for what nothing tells the end of."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        time.sleep(0.002)


def answer(**facts: Any) -> None:
    """Print what was found."""
    print(json.dumps(facts))
