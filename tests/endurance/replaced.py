"""Promote again and again, a call between; tell the memory whenever the same stage serves."""

from __future__ import annotations

import sys
import threading

from endurance.account import MODEL, answer, resident_bytes, until
from hotstart import Embedder
from hotstart.types import Stage

STAGES: tuple[Stage, Stage] = ("fast_start", "full")

embedder = Embedder(MODEL, strategy="background")


def promote(stage: Stage) -> None:
    """Return when `stage` serves and what it replaced is closed, which ends the thread."""
    embedder.promote(stage)
    until(lambda: embedder.status().stage == stage, stage)
    until(lambda: "hotstart-promotion" not in {t.name for t in threading.enumerate()}, "close")


embedder.encode("How do I reset my password?")
sizes = [resident_bytes()]
for number in range(int(sys.argv[1])):
    wanted = STAGES[number % 2]
    promote(wanted)
    embedder.encode("How do I reset my password?")
    if wanted == "full":
        sizes.append(resident_bytes())
answer(sizes=sizes, stages=list(embedder.status().stages), loads=embedder.status().loads)
