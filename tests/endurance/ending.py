"""Ends with status 7 while the named work is under way: ending.py WORK."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from hotstart import Embedder, ModelRegistry, SearchIndex

TEXTS = ["a long text about many things " * 20] * 200
MODEL = "all-MiniLM-L6-v2"


def in_daemon(call: Callable[..., Any], *arguments: Any) -> None:
    threading.Thread(target=call, args=arguments, daemon=True).start()


def cancelled_task() -> None:
    async def main() -> None:
        embedder = Embedder(MODEL)
        await embedder.aencode("warm")
        task = asyncio.create_task(embedder.aencode(TEXTS))
        await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(main())


def running_task() -> None:
    async def main() -> None:
        embedder = Embedder(MODEL)
        await embedder.aencode("warm")
        embedder_task = asyncio.create_task(embedder.aencode(TEXTS))
        await asyncio.wait([embedder_task], timeout=0.1)

    asyncio.run(main())


def cached_task() -> None:
    async def main() -> None:
        embedder = Embedder(MODEL, cache="memory:100MB")
        await embedder.aencode("warm")
        task = asyncio.create_task(embedder.aencode([f"{n} {t}" for n, t in enumerate(TEXTS)]))
        await asyncio.wait([task], timeout=0.1)

    asyncio.run(main())


def daemon_thread() -> None:
    embedder = Embedder(MODEL)
    embedder.encode("warm")
    in_daemon(embedder.encode, TEXTS)
    time.sleep(0.1)


def load() -> None:
    Embedder(MODEL, strategy="background")
    time.sleep(float(os.environ.get("WAIT", "0.05")))


def promotion() -> None:
    embedder = Embedder(MODEL)
    embedder.encode("warm")
    embedder.promote("full")


def promotion_to_openvino() -> None:
    embedder = Embedder(MODEL)
    embedder.encode("warm")
    embedder.promote("throughput")
    time.sleep(0.3)


def closed_registry_and_another() -> None:
    table = {"models": {"m": {"source": MODEL}}}
    first = ModelRegistry.from_config(table)
    first.load_all()
    first.close()
    second = ModelRegistry.from_config(table)
    second.load_all()
    in_daemon(second.predict, "m", TEXTS)
    time.sleep(0.05)
    second.close(timeout=0.0)


def model_that_never_answers() -> None:
    registry = ModelRegistry.from_config(
        {"models": {"m": {"kind": "custom", "source": "registry.models:hanging"}}}
    )
    registry.load_all()
    in_daemon(registry.predict, "m", 1)
    time.sleep(0.05)


def index_update() -> None:
    folder = tempfile.mkdtemp()
    for number, text in enumerate(TEXTS):
        with open(os.path.join(folder, f"{number}.md"), "w", encoding="utf-8") as file:
            file.write(f"{number} {text}")
    index = SearchIndex(folder, Embedder(MODEL))
    in_daemon(index.update)
    time.sleep(0.6)


def prefetch() -> None:
    embedder = Embedder(MODEL, cache="memory:100MB")
    embedder.encode("warm")
    for text in TEXTS:
        embedder.prefetch(text + str(id(text)))


def interrupted() -> None:
    embedder = Embedder(MODEL)
    embedder.encode("warm")
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(7))
    embedder.encode(TEXTS)


WORK = {
    each.__name__: each
    for each in (
        cancelled_task,
        running_task,
        cached_task,
        daemon_thread,
        load,
        promotion,
        promotion_to_openvino,
        closed_registry_and_another,
        model_that_never_answers,
        index_update,
        prefetch,
        interrupted,
    )
}

if __name__ == "__main__":
    WORK[sys.argv[1]]()
    sys.exit(7)
