"""Encode from three threads while the model is promoted, reloaded, unloaded and damaged."""

from __future__ import annotations

import itertools
import sys
import threading

import numpy as np

from endurance.account import answer, until
from hotstart import Embedder
from hotstart.config import read_settings
from hotstart.pool.pool import Pool
from support.compiled import damage_compiled
from support.golden import FAMILIES, family_texts

CALLS, ROUNDS = map(int, sys.argv[1:])
THREADS = 3
MODEL = FAMILIES / "bert-mean-normalize" / "model"

texts = family_texts()
expected = Embedder(MODEL, pool=Pool()).encode(texts)
embedder = Embedder(MODEL, strategy="background", pool=Pool())
lowest: list[float] = []
failures: list[str] = []
done = threading.Event()


def encode(first: int) -> None:
    for number in itertools.count(first, THREADS):
        if number >= CALLS and done.is_set():
            return
        # Both engines of the last stage are asked: many texts go to the bulk engine.
        some = slice(None) if number % 8 == 0 else slice(number % len(texts), None, len(texts))
        try:
            vectors = embedder.encode(texts[some])
            lowest.append(float((vectors * expected[some]).sum(axis=1).min()))
        except Exception as error:  # noqa: BLE001 - any failure is one
            failures.append(repr(error))


def promote() -> bool:
    """Promote to the last stage; return whether that was refused."""
    embedder.promote("throughput")
    status = embedder.status()
    until(lambda: embedder.status().refused or embedder.status().stage == "throughput", str(status))
    return bool(embedder.status().refused)


threads = [threading.Thread(target=encode, args=(first,)) for first in range(THREADS)]
for thread in threads:
    thread.start()
promotions = refusals = damaged = 0
for rounds in range(ROUNDS):
    refused = promote()
    refusals += refused
    promotions += not refused
    if rounds % 2:
        factor = -1.0 if rounds % 4 == 1 else np.nan
        damaged += damage_compiled(read_settings().cache_dir, MODEL, factor)
    if rounds % 3:
        embedder._instance.reload()
    else:
        embedder.unload()
done.set()
for thread in threads:
    thread.join()
answer(
    calls=len(lowest),
    lowest=min(lowest, default=0.0),
    failures=failures[:3],
    promotions=promotions,
    refusals=refusals,
    damaged=damaged,
)
