"""Encode from four threads while the model is promoted back and forth; tell what was wrong."""

from __future__ import annotations

import sys
import threading

import numpy as np

from endurance.account import MODEL, answer, golden_short, until
from hotstart import Embedder
from hotstart.types import Stage

CALLS = int(sys.argv[1])
THREADS = 4
STAGES: tuple[Stage, Stage] = ("fast_start", "full")

embedder = Embedder(MODEL, strategy="background")
texts, expected = golden_short()
lowest: list[float] = []
failures: list[str] = []
done = threading.Event()


def encode(first: int) -> None:
    for number in range(first, CALLS, THREADS):
        row = number % len(texts)
        try:
            vector = embedder.encode(texts[row])
            lengths = np.linalg.norm(vector) * np.linalg.norm(expected[row])
            lowest.append(float(vector @ expected[row] / lengths))
        except Exception as error:  # noqa: BLE001 - any failure is one
            failures.append(repr(error))


def promote(stage: Stage) -> None:
    embedder.promote(stage)
    until(lambda: embedder.status().stage == stage, stage)


def work() -> None:
    threads = [threading.Thread(target=encode, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()


embedder.wait_ready()
worker = threading.Thread(target=work)
worker.start()
promotions = 0
while not done.is_set():
    promote(STAGES[promotions % 2])
    promotions += 1
worker.join()
status = embedder.status()
answer(
    calls=len(lowest),
    lowest=min(lowest, default=0.0),
    failures=failures[:3],
    promotions=promotions,
    refused=dict(status.refused),
    in_use=status.in_use,
    loads=status.loads,
)
