"""Ask so many questions of so many texts of a shared cache; tell what was computed here.

Arguments: the cache's address, questions, texts, a seed, and `hang` to never end computing. A lease
lasts 2 s here, so that the death of its holder is soon noticed.
"""

from __future__ import annotations

import json
import random
import sys
import time

import hotstart.cache.embedding_cache
from hotstart import Embedder
from hotstart.engines.fake import FakeEngine, fake_control

url, questions, texts, seed = sys.argv[1], *map(int, sys.argv[2:5])
setattr(hotstart.cache.embedding_cache, "LEASE", 2.0)  # noqa: B010 - mypy: it is imported there
if "hang" in sys.argv:

    def embed(self: FakeEngine, *arguments: object) -> None:
        print("computing", flush=True)
        time.sleep(600)

    FakeEngine.embed = embed  # type: ignore[assignment,method-assign]

draw = random.Random(seed)
embedder = Embedder("fake:name=process,encode_seconds=0.005", cache=url)
plain = Embedder("fake:name=plain")
wrong = 0
for _ in range(questions):
    text = f"text {draw.randrange(texts)}"
    wrong += embedder.encode(text).tolist() != plain.encode(text).tolist()
print(json.dumps({"embedded": fake_control("process").embedded, "wrong": wrong}))
