"""Load, use and unload the real model again and again; tell the memory after each time."""

from __future__ import annotations

import sys

from endurance.account import MODEL, answer, resident_bytes
from hotstart import Embedder

embedder = Embedder(MODEL, strategy="background")
sizes = []
for _ in range(int(sys.argv[1])):
    embedder.encode("How do I reset my password?")
    embedder.unload()
    sizes.append(resident_bytes())
answer(sizes=sizes, loads=embedder.status().loads, state=embedder.state)
