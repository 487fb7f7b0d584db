"""The asyncio edge: nothing blocks the loop, nobody is harmed by another's giving up."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from hotstart import Embedder
from hotstart.errors import ModelNotFound, NotReady
from hotstart.pool.aio import until_ready
from hotstart.pool.instance import Instance
from hotstart.pool.pool import Pool
from hotstart.types import Progress, Stage


class Gate:
    """A load that ends when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.loads = 0

    def __call__(self, stage: Stage, report: Progress, beside: object) -> str:
        self.loads += 1
        assert self.open.wait(20)
        return "model"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def instance(gate: Gate) -> Instance[str]:
    return Instance("m", gate, lambda model: None)


def test_a_thousand_wait_for_one_load(instance: Instance[str], gate: Gate) -> None:
    async def main() -> None:
        waiters = [asyncio.create_task(until_ready(instance, 20)) for _ in range(1000)]
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(*waiters)

    asyncio.run(main())
    assert gate.loads == 1


def test_the_first_who_is_cancelled_harms_nobody(instance: Instance[str], gate: Gate) -> None:
    async def main() -> None:
        first, *others = [asyncio.create_task(until_ready(instance, 20)) for _ in range(5)]
        await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.sleep(0.05)
        gate.open.set()
        await asyncio.gather(*others)
        assert first.cancelled()

    asyncio.run(main())
    assert gate.loads == 1


def test_a_deadline_is_kept_and_the_load_goes_on(instance: Instance[str], gate: Gate) -> None:
    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(NotReady, match="is loading"):
            await until_ready(instance, 0.1)
        assert 0.09 < time.monotonic() - began < 5
        gate.open.set()
        await until_ready(instance, 20)

    asyncio.run(main())


def test_loops_in_several_threads_share_one_instance(instance: Instance[str], gate: Gate) -> None:
    async def main() -> None:
        await asyncio.gather(*(until_ready(instance, 20) for _ in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.open.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert gate.loads == 1


def test_a_loop_that_closed_while_it_waited_harms_nobody(
    instance: Instance[str], gate: Gate
) -> None:
    async def give_up() -> None:
        with pytest.raises(NotReady):
            await until_ready(instance, 0.05)

    asyncio.run(give_up())
    gate.open.set()
    assert instance.wait(20)


def test_a_failure_is_raised() -> None:
    async def main() -> None:
        embedder = Embedder("nobody/nothing", pool=Pool())
        with pytest.raises(ModelNotFound):
            await embedder.aencode("text")
        assert isinstance(embedder.error, ModelNotFound)

    asyncio.run(main())


def test_a_thousand_concurrent_aencode_on_a_cold_embedder() -> None:
    async def main() -> tuple[list[Any], int]:
        embedder = Embedder(pool=Pool())
        vectors = await asyncio.gather(*(embedder.aencode(f"text {n % 7}") for n in range(1000)))
        return vectors, embedder.status().loads

    vectors, loads = asyncio.run(main())
    assert (len(vectors), loads) == (1000, 1)
    assert {vector.shape for vector in vectors} == {(384,)}


def test_ready_is_true_or_false_and_the_roles_have_their_prompts() -> None:
    async def main() -> None:
        embedder = Embedder(pool=Pool(), strategy="background")
        assert await embedder.await_ready(0) in {True, False}
        assert await embedder.await_ready(60)
        assert embedder.get_if_ready() is embedder
        query = await embedder.aencode_query("a", timeout=3.0, normalize_embeddings=True)
        document = await embedder.aencode_document(["a"])
        assert (query.shape, document.shape) == ((384,), (1, 384))

    asyncio.run(main())
