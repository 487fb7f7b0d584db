"""An OpenAI-compatible embedding service that takes its time, in a process of its own.

    python -m examples.voice_turn.stand_in --least 0.39 --most 1.16 --seed 1

Its port is the first line it prints. A vector is a hashed bag of words: the same text has the same
vector in every process, and texts that share words are near. GET /counts tells what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import re
from collections import Counter

import numpy as np
from aiohttp import web

DIMENSION = 512
_COMMON_WORDS = """
a about and are ask asked at by can could do does for from hello how i if in is it know like me
more my neighbour of on or please question something tell that the to up we what would you your
yesterday
"""
_COMMON = frozenset(_COMMON_WORDS.split())


class Service:
    """Answers as OpenAI does, after a latency drawn evenly between `least` and `most` seconds."""

    def __init__(self, least: float, most: float, seed: int) -> None:
        self._latency = random.Random(seed)
        self._least, self._most = least, most
        self._requests = 0
        self._texts: Counter[str] = Counter()

    async def embeddings(self, request: web.Request) -> web.Response:
        """POST /v1/embeddings."""
        body = await request.json()
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        self._requests += 1
        self._texts.update(texts)
        await asyncio.sleep(self._latency.uniform(self._least, self._most))
        data = [
            {"object": "embedding", "index": index, "embedding": vector(text).tolist()}
            for index, text in enumerate(texts)
        ]
        return web.json_response({"object": "list", "data": data, "model": body["model"]})

    async def counts(self, request: web.Request) -> web.Response:
        """GET /counts."""
        return web.json_response({"requests": self._requests, "texts": dict(self._texts)})


def vector(text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Return the bag of words of `text`, float32 (512,), of length 1."""
    bag = np.full(DIMENSION, 1e-3, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        if word not in _COMMON:
            digest = hashlib.blake2b(word.encode(), digest_size=4).digest()
            bag[int.from_bytes(digest, "little") % DIMENSION] += 1
    unit: np.ndarray[tuple[int], np.dtype[np.float32]] = bag / np.linalg.norm(bag)
    return unit


async def serve(service: Service) -> None:
    """Serve on a free port of this machine until the process ends."""
    app = web.Application()
    app.router.add_post("/v1/embeddings", service.embeddings)
    app.router.add_get("/counts", service.counts)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=float, default=0.39)
    parser.add_argument("--most", type=float, default=1.16)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(serve(Service(**vars(parser.parse_args()))))
