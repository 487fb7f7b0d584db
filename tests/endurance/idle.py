"""Be ready and do nothing; tell how much processor time that took."""

from __future__ import annotations

import os
import sys
import time

from endurance.account import MODEL, answer, until
from hotstart import Embedder

embedder = Embedder(MODEL, strategy="progressive")
embedder.encode("How do I reset my password?")
until(lambda: embedder.status().stage == "full", "promotion")
time.sleep(0.5)  # the former engine is given back
before, began = os.times(), time.monotonic()
time.sleep(float(sys.argv[1]))
after, ended = os.times(), time.monotonic()
busy = after.user + after.system - before.user - before.system
answer(busy=busy, seconds=ended - began, state=embedder.state)
