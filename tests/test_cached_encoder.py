"""Prefetches as users see them: the question finds its vector there, and the account says so."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.cache.embedding_cache import EmbeddingCache
from hotstart.engines.fake import fake_control, forget_fake_control
from hotstart.pool.pool import Pool
from hotstart.telemetry import HistogramSnapshot
from support.golden import FAMILIES
from support.waiting import until

NAME = "recall"


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    forget_fake_control(NAME)
    yield
    forget_fake_control(NAME)


def fake(seconds: float = 0.0, **options: Any) -> Embedder:
    options.setdefault("cache", EmbeddingCache("memory:1MB"))
    return Embedder(f"fake:name={NAME},encode_seconds={seconds}", pool=Pool(), **options)


def wait_for(embedder: Embedder, text: str, **options: Any) -> bool:
    return asyncio.run(embedder.await_prefetch(text, timeout=10, **options))


def test_the_question_finds_the_prefetched_vector() -> None:
    embedder = fake()
    embedder.prefetch("question", namespace="kb1")
    assert wait_for(embedder, "question")
    np.testing.assert_array_equal(embedder.encode("question"), Embedder("fake:").encode("question"))
    info = embedder.cache_info()
    assert (info.hits, info.misses, info.prefetch_hits, info.prefetch_wasted) == (1, 1, 1, 0)
    assert fake_control(NAME).embedded == {"question": 1}


def test_the_question_joins_the_prefetch_under_way() -> None:
    cache = EmbeddingCache("memory:1MB")
    embedder = Embedder(f"fake:name={NAME},hang_encode=true", cache=cache, pool=Pool())

    async def main() -> Any:
        embedder.prefetch("question")
        await until(lambda: fake_control(NAME).embedded["question"])
        asked = asyncio.create_task(embedder.aencode("question"))
        await asyncio.sleep(0)  # the task has begun to wait
        fake_control(NAME).release()
        return await asked

    assert asyncio.run(main()).shape == (8,)
    assert fake_control(NAME).embedded == {"question": 1}
    assert embedder.cache_info().prefetch_hits == 1


def test_it_returns_at_once_however_slow_the_model() -> None:
    embedder = Embedder("fake:name=recall-hanging,hang_load=true", pool=Pool())
    began = time.perf_counter()
    for number in range(100):
        embedder.prefetch(f"text {number}")
    assert time.perf_counter() - began < 10
    info = embedder.cache_info().prefetch
    assert info.requested == 100
    assert info.waiting + info.dropped + info.running == 100
    assert info.waiting <= 64
    fake_control("recall-hanging").release()


def test_without_a_cache_one_in_memory_is_begun() -> None:
    embedder = fake(cache=None)
    embedder.encode("a")
    embedder.prefetch("b")
    assert wait_for(embedder, "b")
    embedder.encode("b")
    assert fake_control(NAME).embedded == {"a": 1, "b": 1}
    assert embedder.cache_info().entries >= 1  # embedders without a cache share the one


def test_waiting_for_what_nobody_asked_for_says_no_at_once() -> None:
    embedder = fake(3)
    began = time.perf_counter()
    assert not wait_for(embedder, "never")
    embedder.prefetch("slow")
    assert not asyncio.run(embedder.await_prefetch("slow", timeout=0.01))
    assert time.perf_counter() - began < 2.9
    assert wait_for(embedder, "slow")


def test_a_prefetch_that_fails_says_no_and_the_question_tells_why() -> None:
    embedder = Embedder(
        f"fake:name={NAME},fail_texts=poison", cache=EmbeddingCache("memory:1MB"), pool=Pool()
    )
    embedder.prefetch("poison")
    assert not wait_for(embedder, "poison")
    with pytest.raises(RuntimeError, match="set to fail"):
        embedder.encode("poison")
    assert embedder.cache_info().prefetch.failed == 1


def test_growing_speech_costs_no_more_than_what_had_its_turn() -> None:
    embedder = fake(0.05)
    partial = ""
    for word in ["how", "do", "I", "reset", "my", "password"]:
        longer = f"{partial} {word}".strip()
        embedder.prefetch(longer, supersedes=partial or None)
        partial = longer
    assert wait_for(embedder, partial)
    embedder.encode(partial)
    info = embedder.cache_info()
    embedded = fake_control(NAME).embedded
    assert embedded[partial] == 1
    assert sum(embedded.values()) <= 2
    assert info.prefetch.superseded >= 4
    assert info.prefetch_hits == 1


def test_the_models_own_prompts_are_put_before_what_is_prefetched() -> None:
    folder = str(FAMILIES / "bert-prompts" / "model")
    embedder = Embedder(folder, cache=EmbeddingCache("memory:1MB"), pool=Pool())
    embedder.prefetch("question", prompt_name="query")
    assert wait_for(embedder, "question", prompt_name="query")
    embedder.encode_query("question")
    assert embedder.cache_info().misses == 1
    expected = Embedder(folder).encode_query("question")
    np.testing.assert_allclose(embedder.encode_query("question"), expected, atol=1e-6)


def test_figures_tell_all_of_it_in_one_shape() -> None:
    embedder = fake()
    embedder.prefetch("a", namespace="kb1")
    assert wait_for(embedder, "a")
    embedder.encode(["a", "b"])
    metrics = {(f.name, *f.labels.values()): f.value for f in embedder.metrics()}
    assert metrics["hotstart_cache_asked_total", "near"] == 1
    assert metrics["hotstart_cache_asked_total", "computed"] == 2
    assert metrics["hotstart_prefetch_total", "used", "kb1"] == 1
    ready = metrics["hotstart_prefetch_ready_seconds",]
    assert isinstance(ready, HistogramSnapshot)
    assert ready.total == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_prefetches_on_its_own() -> None:
    embedder = fake(0.05)
    embedder.prefetch("in the parent")
    child = os.fork()
    if not child:
        embedder.prefetch("in the child")
        os._exit(0 if wait_for(embedder, "in the child") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert wait_for(embedder, "in the parent")
