"""A caller that is cancelled or interrupted leaves nothing that others wait for."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time

import pytest

from hotstart import Embedder
from hotstart.pool.pool import Pool


@pytest.mark.parametrize("texts", [30, 3000])
def test_others_are_answered_whenever_a_caller_is_cancelled(texts: int) -> None:
    chance = random.Random(7)

    async def main() -> None:
        embedder = Embedder("fake:dimension=8", cache="memory:100MB", pool=Pool())
        await embedder.aencode("warm")
        for number in range(100):
            shared = [f"{number} {text}" for text in range(texts)]
            tasks = [asyncio.ensure_future(embedder.aencode(shared)) for _ in range(2)]
            await asyncio.sleep(chance.uniform(0, 0.004))
            tasks[0].cancel()
            vectors = await asyncio.wait_for(tasks[1], 60)
            assert vectors.shape == (texts, 8)
            again = await embedder.aencode(shared, timeout=60)
            assert (again == vectors).all()

    asyncio.run(main())


INTERRUPTED = """
import random, signal, sys, threading
from hotstart import Embedder

chance = random.Random(7)
embedder = Embedder("fake:dimension=8", cache="memory:100MB")
embedder.encode("warm")
interrupted = 0
for number in range(200):
    shared = [f"{number} {text}" for text in range(300)]
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.004))
        embedder.encode(shared)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    answers = []
    other = threading.Thread(
        target=lambda: answers.append(embedder.encode(shared, timeout=60)), daemon=True
    )
    other.start()
    other.join(60)
    assert answers and answers[0].shape == (300, 8), number
print(interrupted)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setitimer")
def test_others_are_answered_whenever_a_caller_is_interrupted() -> None:
    program = "import signal\nsignal.signal(signal.SIGALRM, signal.default_int_handler)\n"
    done = subprocess.run(
        [sys.executable, "-c", program + INTERRUPTED], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_a_thread_that_cannot_start_leaves_nothing_that_others_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        embedder = Embedder("fake:dimension=8", cache="memory:100MB", pool=Pool())
        await embedder.aencode("warm")
        with monkeypatch.context() as limited:
            limited.setattr("hotstart.cached_encoder.in_background", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                await embedder.aencode(["a", "b"])
        began = time.monotonic()
        assert (await embedder.aencode(["a", "b"], timeout=60)).shape == (2, 8)
        assert time.monotonic() - began < 30

    asyncio.run(main())
