"""Ask for a vector of the model in a folder; tell it, or why there is none."""

from __future__ import annotations

import sys

from endurance.account import answer
from hotstart import Embedder, HotstartError

embedder = Embedder(sys.argv[1])
try:
    vector = embedder.encode("How do I reset my password?").tolist()
    answer(state=embedder.state, error=None, vector=vector)
except HotstartError as error:
    answer(state=embedder.state, error=type(error).__name__, vector=[])
