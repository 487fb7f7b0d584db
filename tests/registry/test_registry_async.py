"""A registry asked from an event loop, and what it tells of its loads."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from hotstart import ModelRegistry
from hotstart.engines.fake import fake_control
from hotstart.errors import InvalidInput, NotReady, UnknownModel
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config
from hotstart.registry.events import LoadStep, StateChange
from support.golden import RERANKERS


def registry(**models: dict[str, Any]) -> ModelRegistry:
    return ModelRegistry(read_config({"models": models}), pool=Pool())


def test_concurrent_apredict_calls_are_batched_and_counted() -> None:
    held = registry(minilm={"source": "fake:encode_seconds=0.5,name=counted"})

    async def ask() -> list[Any]:
        await held.apredict("minilm", "first")
        asked = (held.apredict("minilm", f"text {n}") for n in range(20))
        return list(await asyncio.gather(*asked))

    began = time.perf_counter()
    answers = asyncio.run(ask())
    assert time.perf_counter() - began < 6
    assert {answer.model for answer in answers} == {"minilm"}
    assert answers[0].output.shape == (8,)
    [version] = held.info("minilm").serving
    assert version.metrics.tally["calls"] == 21 == version.uses
    assert version.metrics.latency.read().total == 21


def test_aembed_returns_vectors_with_their_model_and_raises_what_the_load_raises() -> None:
    held = registry(
        broken={"source": "fake:fail_loads=99,name=broken", "kind": "embedding"},
        ready={"source": "fake:name=ready"},
    )
    prediction = asyncio.run(held.aembed("ready", ["text"], {"truncate_dim": 4}, timeout=5))
    assert prediction.output.vectors.shape == (1, 4)
    assert (prediction.model, prediction.version, prediction.reason) == ("ready", "1", None)
    [version] = held.info("ready").serving
    assert version.metrics.tally["calls"] == 1 == version.uses
    with pytest.raises(Exception, match="set to fail"):
        asyncio.run(held.aembed("broken", ["text"]))
    with pytest.raises(UnknownModel):
        asyncio.run(held.aembed("none", ["text"]))
    with pytest.raises(UnknownModel):
        held.info("none")


def test_arank_orders_documents_by_score() -> None:
    held = registry(rank={"kind": "reranker", "source": str(RERANKERS / "bert" / "model")})
    documents = ["it is a cat", "the sea", "what"]
    prediction = asyncio.run(held.arank("rank", "what is it?", documents, {"top_k": 2}))
    scores = held.predict("rank", [["what is it?", text] for text in documents]).output
    assert [entry["corpus_id"] for entry in prediction.output] == list((-scores).argsort()[:2])
    assert prediction.model == "rank"


def test_aembed_and_arank_refuse_models_of_other_kinds() -> None:
    held = registry(minilm={"source": "fake:name=no-reranker"})
    held.set_model("double", lambda number: number * 2)
    for name in ("double", "minilm"):
        with pytest.raises(InvalidInput, match="reranker"):
            asyncio.run(held.arank(name, "query", ["text"]))
    with pytest.raises(InvalidInput, match="embedding model"):
        asyncio.run(held.aembed("double", ["text"]))


def test_apredict_of_object_runs_in_thread() -> None:
    held = registry()
    held.set_model("double", lambda number: number * 2)
    assert asyncio.run(held.apredict("double", 21)).output == 42


def test_apredict_timeout_raises_not_ready() -> None:
    held = registry(slow={"source": "fake:hang_load=true,name=slow-awaited"})

    async def ask() -> None:
        with pytest.raises(NotReady):
            await held.apredict("slow", "text", timeout=0.05)

    asyncio.run(ask())


def test_callers_of_slow_model_do_not_block_others() -> None:
    held = registry(slow={"source": "fake:hang_load=true,name=slow-many"})
    held.set_model("double", lambda number: number * 2)

    async def ask() -> None:
        many = [asyncio.create_task(held.apredict("slow", "text")) for _ in range(100)]
        await asyncio.sleep(0.05)
        doubled = held.apredict("double", 21)
        assert (await asyncio.wait_for(doubled, 5)).output == 42
        fake_control("slow-many").release()
        assert len(await asyncio.gather(*many)) == 100

    asyncio.run(ask())


def test_load_steps_and_changes_arrive_in_order() -> None:
    held = registry(minilm={"source": "fake:load_seconds=0.05,name=stepped"})
    heard: list[Any] = []
    held.on_change(heard.append)
    held.on_progress(heard.append)
    held.load_all()
    held.close()
    steps = [event for event in heard if isinstance(event, LoadStep)]
    assert [(step.name, step.version) for step in steps] == [("minilm", "1")] * len(steps)
    assert steps
    assert all(0 <= step.fraction <= 1 for step in steps)
    states = [event.status for event in heard if isinstance(event, StateChange)]
    assert states[:3] == ["unloaded", "loading", "ready"]
    assert isinstance(heard[1], StateChange)
    assert heard.index(steps[0]) == 2
    assert [event.at for event in heard] == sorted(event.at for event in heard)


def test_last_keep_alive_wins() -> None:
    held = registry(minilm={"source": "fake:name=kept"})
    held.load_all()
    held.keep_alive("minilm", 0.05)
    deadline = time.monotonic() + 5
    while held.is_loaded("minilm"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    held.keep_alive("minilm", 0.1)
    held.load_all()
    held.keep_alive("minilm", None)
    time.sleep(0.25)
    assert held.is_loaded("minilm")


def test_info_reports_whether_rollback_is_possible() -> None:
    held = registry(two={"versions": {"a": "fake:name=a", "b": "fake:name=b"}, "version": "a"})
    assert not held.info("two").can_roll_back
    held.set_route("two", {"b": 1})
    assert held.info("two").can_roll_back
    assert not held.rollback("two").can_roll_back
    with pytest.raises(InvalidInput):
        held.rollback("two")
