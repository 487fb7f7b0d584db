"""Calls that arrive together run together; one harms no other."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from hotstart.encoding import EncodeRequest
from hotstart.engines.fake import fake_control
from hotstart.errors import InvalidInput, NotReady, Overloaded, StillComputing
from hotstart.pool import batching
from hotstart.pool.batching import Lane, LaneQueue, PendingCall, lanes_of
from hotstart.pool.loader import LoadedModel
from hotstart.pool.pool import Pool
from hotstart.telemetry import HistogramSnapshot
from hotstart.types import EmbedOutput, EngineOutput, Matrix, ModelInfo
from support.golden import RERANKERS
from support.waiting import until


class Slow:
    """An engine that counts its runs, each of which waits to be let go."""

    name, dimension = "slow", 2

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.poison = ""

    def embed(self, texts: Sequence[Any], *_: object, **__: object) -> Any:
        self.runs.append(list(texts))
        self.entered.release()
        assert self.gate.acquire(timeout=60)
        if self.poison in texts and self.poison:
            raise RuntimeError(f"{self.poison} cannot be embedded")
        rows = [[len(text), hash(text) % 1000] for text in texts]
        return EngineOutput(Matrix.of(np.array(rows, np.float32)), [1 for _ in texts])

    def count(self, texts: Sequence[Any]) -> list[int]:
        return [1 for _ in texts]

    def metrics(self) -> tuple[()]:
        return ()

    def close(self) -> None: ...


class Model:
    """A queue over a slow engine, whose fingerprint may change."""

    def __init__(self, room: int = 1_000_000, run: int = 10_000, threads: int = 1) -> None:
        self.engine = Slow()
        self.fingerprint = "one"
        lane = Lane("bulk", float("inf"), float("inf"), run=run, room=room, threads=threads)
        self.queue = LaneQueue("slow", lane, self.lease)

    @contextmanager
    def lease(self, timeout: float | None, texts: int) -> Any:
        card = ModelInfo(2, None, {"query": "q: "}, None, self.fingerprint)
        yield LoadedModel(self.engine, card, None)

    def put(self, *texts: str, prompt_name: str | None = None) -> Future[EmbedOutput]:
        call = PendingCall(EncodeRequest(texts, prompt_name=prompt_name))
        self.queue.put(call)
        return call.future

    def figure(self, name: str) -> Any:
        return next(f.value for f in self.queue.metrics() if f.name == f"hotstart_queue_{name}")


def test_what_comes_while_a_run_is_under_way_runs_together_after_it() -> None:
    model = Model()
    first = model.put("a")
    assert model.engine.entered.acquire(timeout=60)
    later = [model.put("b", "c"), model.put("d")]
    assert model.figure("waiting") == 2
    model.engine.gate.release(2)
    assert first.result(60).vectors.array().shape == (1, 2)
    made = [future.result(60) for future in later]
    assert model.engine.runs == [["a"], ["b", "c", "d"]]
    assert [len(each.vectors.array()) for each in made] == [2, 1]
    assert made[0].vectors.array().tolist() == [[1, hash("b") % 1000], [1, hash("c") % 1000]]
    assert [each.tokens for each in made] == [2, 1]
    assert (model.figure("calls_total"), model.figure("texts_total")) == (3, 4)
    sizes: HistogramSnapshot = model.figure("run_texts")
    assert (sizes.total, sizes.sum) == (2, 4)


def test_one_call_s_failure_is_its_own() -> None:
    model = Model()
    model.engine.poison = "poison"

    model.put("a")
    assert model.engine.entered.acquire(timeout=60)
    good, bad, wrong = model.put("b"), model.put("poison"), model.put("c", prompt_name="x")
    model.engine.gate.release(10)
    assert good.result(60).vectors.array().shape == (1, 2)
    with pytest.raises(RuntimeError, match="poison"):
        bad.result(60)
    with pytest.raises(InvalidInput, match="prompt_name"):
        wrong.result(60)


def test_what_nobody_awaits_any_more_is_not_computed() -> None:
    model = Model()
    model.put("a")
    assert model.engine.entered.acquire(timeout=60)
    gone, kept = model.put("b"), model.put("c")
    gone.cancel()
    model.engine.gate.release(2)
    kept.result(60)
    assert model.engine.runs == [["a"], ["c"]]
    assert model.figure("dropped_total") == 1


def test_a_full_lane_refuses_and_says_when_to_come_again() -> None:
    model = Model(room=20)
    model.put("a" * 400)  # a single call of any size is taken
    assert model.engine.entered.acquire(timeout=60)
    waits = model.put("b" * 40)
    with pytest.raises(Overloaded, match="bulk lane") as caught:
        model.put("c" * 40)
    assert caught.value.retry_after >= 1
    assert model.figure("refused_total") == 1
    model.engine.gate.release(2)
    waits.result(60)
    model.engine.gate.release()
    model.put("d" * 40).result(60)


def test_a_long_call_runs_in_parts_and_what_fails_of_it_ends_it() -> None:
    model = Model(run=6)
    whole = model.put("a", "b", "c", "d", "e")  # two tokens each, about
    model.engine.gate.release(2)
    assert whole.result(60).vectors.array()[:, 0].tolist() == [1] * 5
    assert model.engine.runs == [["a", "b", "c"], ["d", "e"]]
    model.engine.poison = "b"
    broken = model.put("a", "b", "c", "d", "e")
    model.engine.gate.release(2)
    with pytest.raises(RuntimeError):
        broken.result(60)
    model.engine.gate.release(2)
    model.put("f").result(60)
    assert ["d", "e"] not in model.engine.runs[3:]


def test_a_call_has_vectors_of_one_space_though_the_model_is_loaded_anew_within_it() -> None:
    model = Model(run=6)
    whole = model.put("a", "b", "c", "d")
    assert model.engine.entered.acquire(timeout=60)
    model.fingerprint = "two"
    model.engine.gate.release(4)
    made = whole.result(60)
    assert made.info.fingerprint == "two"
    assert len(made.vectors.array()) == 4


def test_parts_that_run_side_by_side_come_back_in_their_order() -> None:
    model = Model(run=6, threads=2)
    whole = model.put("a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg")
    model.engine.gate.release(10)
    assert whole.result(60).vectors.array()[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert whole.result(60).tokens == 7
    model.fingerprint = "another"
    again = [model.put(*"abcdefgh") for _ in range(5)]
    model.engine.gate.release(100)
    for number, future in enumerate(again):
        model.fingerprint = f"space {number}"
        assert len(future.result(60).vectors.array()) == 8


def test_the_thread_ends_when_nobody_asks_and_the_next_call_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_IDLE_SECONDS", 0.05)
    others = set(threading.enumerate())
    model = Model()
    model.engine.gate.release(2)
    model.put("a").result(60)
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - others:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    model.put("b").result(60)


def test_a_model_has_one_pair_of_lanes_and_is_not_kept_by_them() -> None:
    pool = Pool()
    embedder = Embedder("fake:name=lanes", pool=pool)
    other = Embedder("fake:name=lanes", pool=pool)
    assert lanes_of(embedder._instance) is lanes_of(other._instance)
    instance = weakref.ref(embedder._instance)
    del embedder, other, pool
    gc.collect()
    assert instance() is None


def test_embedders_that_are_awaited_together_run_together() -> None:
    embedder = Embedder("fake:name=together,encode_seconds=0.5,dimension=4", pool=Pool())

    async def ask() -> list[Any]:
        await embedder.aencode("first")
        return await asyncio.gather(*(embedder.aencode(f"text {n}") for n in range(20)))

    began = time.perf_counter()
    vectors = asyncio.run(ask())
    assert time.perf_counter() - began < 6  # one after the other they would take 10 s
    for number, vector in enumerate(vectors):
        assert np.array_equal(vector, embedder.encode(f"text {number}"))
    told = asyncio.run(embedder.aembed(["two words", "and three words"]))
    assert told.tokens == 5 == embedder.count_tokens(["two words", "and three words"])
    names = {figure.name for figure in embedder.metrics()}
    assert {"hotstart_queue_waiting", "hotstart_queue_run_texts"} <= names


def test_a_deadline_ends_the_wait_and_the_work() -> None:
    embedder = Embedder("fake:name=late,hang_encode=true", pool=Pool())
    embedded = fake_control("late").embedded

    async def ask() -> None:
        await embedder.await_ready()
        under_way = []
        for number in range(2):  # one for each thread
            text = f"under way {number}"
            under_way.append(asyncio.create_task(embedder.aencode(text)))
            await until(partial(embedded.__contains__, text))
        with pytest.raises(StillComputing, match="fewer texts"):
            await embedder.aencode("in vain", timeout=0.02)
        fake_control("late").release()
        await asyncio.gather(*under_way)
        await embedder.aencode("after")

    asyncio.run(ask())
    assert embedded["in vain"] == 0


def test_without_any_time_who_is_ready_answers_all_the_same() -> None:
    embedder = Embedder("fake:name=no-time,encode_seconds=0.05", pool=Pool())

    async def ask() -> None:
        with pytest.raises(NotReady):
            await embedder.aencode("too early", timeout=0)
        await embedder.await_ready()
        assert (await embedder.aencode("in time", timeout=0)).shape == (8,)

    asyncio.run(ask())


def test_misses_of_a_cache_run_together_too() -> None:
    embedder = Embedder(
        "fake:name=cached-together,encode_seconds=0.5", cache="memory:1MB", pool=Pool()
    )

    async def ask() -> list[Any]:
        await embedder.aencode("first")
        return await asyncio.gather(*(embedder.aencode(f"text {n % 10}") for n in range(20)))

    began = time.perf_counter()
    asyncio.run(ask())
    assert time.perf_counter() - began < 4.5
    assert fake_control("cached-together").embedded["text 3"] == 1


def test_texts_of_a_real_model_have_the_vectors_they_have_alone() -> None:
    embedder = Embedder()
    texts = [f"{'many words of a sentence ' * (n % 7)}{n}" for n in range(60)]

    async def ask() -> list[Any]:
        one_by_one = [embedder.aencode(text) for text in texts]
        return await asyncio.gather(*one_by_one, embedder.aencode(texts))

    *alone, whole = asyncio.run(ask())
    expected = embedder.encode(texts)
    assert np.abs(np.stack(alone) - expected).max() < 1e-5
    assert np.abs(whole - expected).max() < 1e-5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="asks for a fork")
def test_a_forked_child_has_lanes_of_its_own() -> None:
    embedder = Embedder("fake:name=forked-lanes", pool=Pool())
    asyncio.run(embedder.aencode("parent"))
    child = os.fork()
    if child == 0:
        done = False
        with suppress(Exception):
            done = asyncio.run(asyncio.wait_for(embedder.aencode("child"), 5)).shape == (8,)
        os._exit(0 if done else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_reranker_s_calls_run_together() -> None:
    name = next(n for n in sorted(RERANKERS.iterdir()) if (n / "scores.npy").exists()).name
    reranker = Reranker(RERANKERS / name / "model", pool=Pool())
    pairs = [("which cat?", f"the cat number {n}") for n in range(12)]

    async def ask() -> list[Any]:
        return await asyncio.gather(*(reranker.apredict(pair) for pair in pairs))

    scores = asyncio.run(ask())
    assert np.allclose(scores, reranker.predict(pairs), atol=1e-6)
