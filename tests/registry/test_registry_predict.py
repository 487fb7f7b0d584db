from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, ModelNotReady
from hotstart.errors import LoadFailed, MissingExtra, UnknownModel
from registry.conftest import Make, custom
from registry.models import gates
from support.golden import RERANKERS
from support.waiting import until


def test_get_model_returns_loaded_model_and_counts_use(make: Make) -> None:
    registry = make(m=custom(bias=1))
    registry.load_all()
    assert registry.get_model("m") is registry.get_model("m")
    assert registry.models()["m"].uses == 2


def test_get_model_starts_load_and_raises_progress(make: Make) -> None:
    gates.pop("g", None)
    registry = make(m=custom("gated", name="g"))
    with pytest.raises(ModelNotReady, match="'m' is loading"):
        registry.get_model("m")
    with pytest.raises(ModelNotReady):
        registry.get_model("m", timeout=0.05)
    gates["g"].set()
    assert registry.get_model("m", timeout=5).predict([1]) == [1]


@pytest.mark.parametrize(
    ("kind", "source"),
    [("embedding", "fake:name=unloaded"), ("reranker", str(RERANKERS / "bert" / "model"))],
)
def test_calls_unloads_and_reloads_of_many_threads_end(make: Make, kind: str, source: str) -> None:
    """A call that leased the model twice waited for an unload, which waited for the call."""
    registry = make(m={"kind": kind, "source": source})
    inputs: Any = "a" if kind == "embedding" else [("a", "b")]
    errors: list[Exception] = []

    def call() -> None:
        try:
            for _ in range(100):
                registry.predict("m", inputs, timeout=60)
                with registry.lease("m", timeout=60) as model:
                    if isinstance(model, Embedder):
                        model.encode("b", timeout=60)
        except Exception as error:  # noqa: BLE001 - the main thread looks at it
            errors.append(error)

    threads = [threading.Thread(target=call, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not errors:
        registry.unload("m")
        registry.reload("m")
    for thread in threads:
        thread.join(60)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def test_unknown_model_is_refused(make: Make) -> None:
    registry = make(m=custom())
    for ask in (registry.get_model, registry.unload, registry.reload, registry.is_loaded):
        with pytest.raises(UnknownModel, match="no model 'n'"):
            ask("n")
    with pytest.raises(UnknownModel), registry.lease("n"):
        pass


def test_failed_load_raises_its_reason(make: Make) -> None:
    registry = make(m=custom(error="the disk is full"))
    with pytest.raises(LoadFailed, match="the disk is full"):
        registry.predict("m", [1])


def test_fallback_answers_with_reason_while_model_loads(make: Make) -> None:
    gates.pop("slow", None)
    registry = make(m=custom("gated", name="slow") | {"fallback": "spare"}, spare=custom(bias=100))
    answer = registry.predict("m", [1], timeout=1.0)
    assert answer[:3] == ([101], "spare", "1")
    assert answer.reason is not None
    assert "loading" in answer.reason
    assert registry.get_model("m").first == 100
    with registry.lease("m", timeout=0.0) as model:
        assert model.first == 100
    gates["slow"].set()
    assert asyncio.run(registry.await_ready("m"))
    assert registry.predict("m", [1]) == ([1], "m", "1", None)


def test_fallback_answers_for_failed_or_skipped_model(make: Make) -> None:
    registry = make(
        failed=custom(error="no") | {"fallback": "spare"},
        skipped={"kind": "sentiment", "source": "/nowhere", "fallback": "textblob"},
        spare=custom(bias=1),
    )
    assert registry.predict("failed", [1]).model == "spare"
    feeling = registry.predict("skipped", "What a lovely day")
    assert feeling.output[0]["label"] == "positive"
    assert (feeling.model, feeling.reason) == ("skipped.fallback", "torch is not installed") or (
        "transformers is not installed" in str(feeling.reason)
    )
    assert registry.skipped_models.keys() == {"skipped"}


def test_error_of_model_is_raised_when_fallback_fails_too(make: Make) -> None:
    registry = make(
        m={"kind": "sentiment", "source": "/nowhere", "fallback": "spare"},
        spare=custom(error="no"),
    )
    with pytest.raises(MissingExtra):
        registry.get_model("m", timeout=5)


def test_fallback_of_fallback_answers(make: Make) -> None:
    registry = make(
        a=custom(error="a") | {"fallback": "b"},
        b=custom(error="b") | {"fallback": "c"},
        c=custom(bias=7),
    )
    answer = registry.predict("a", [0])
    assert answer[:3] == ([7], "c", "1")


def test_failed_prediction_is_raised_and_not_sent_to_fallback(make: Make) -> None:
    registry = make(
        m={"kind": "custom", "source": "registry.versions:raising", "fallback": "spare"},
        spare=custom(),
    )
    with pytest.raises(RuntimeError, match="no answer to 1"):
        registry.predict("m", 1)
    counted = {
        figure.name: figure.value
        for figure in registry.metrics()
        if figure.labels["model"] == "m" and figure.kind == "counter"
    }
    assert counted["hotstart_model_errors_total"] == 1
    assert counted["hotstart_model_calls_total"] == 1


def test_key_is_answered_by_one_version(make: Make) -> None:
    sources = {"v1": "registry.versions:one", "v2": "registry.versions:two"}
    route = {"v1": 75, "v2": 25}
    registry = make(m={"kind": "custom", "versions": sources, "route": route})
    registry.load_all()
    answered = {f"user{n}": registry.predict("m", 0, key=f"user{n}") for n in range(400)}
    shares = Counter(answer.version for answer in answered.values())
    assert 270 < shares["v1"] < 330
    for key, answer in answered.items():
        assert registry.predict("m", 0, key=key) == answer
        assert registry.get_model("m", key=key)(0) == answer.output


def test_get_model_returns_embedder(make: Make) -> None:
    registry = make(default={"source": "fake:dimension=8"})
    with pytest.raises(ModelNotReady):
        registry.get_model("default")
    registry.load_all()
    model = registry.get_model("default")
    assert isinstance(model, Embedder)
    assert model is registry.get_model("default")
    assert model.encode(["a", "b"]).shape == (2, 8)
    answer = registry.predict("default", ["a", "b"])
    assert np.array_equal(answer.output, model.encode(["a", "b"]))
    registry.reload("default")
    assert registry.get_model("default").encode("a").shape == (8,)


def test_metrics_include_cache_of_embedding_model(make: Make) -> None:
    registry = make(default={"source": "fake:name=cached", "cache": "memory:1001kB"})
    registry.load_all()
    for _ in range(3):
        registry.predict("default", "one")
    asked = [f for f in registry.metrics() if f.name == "hotstart_cache_asked_total"]
    assert {figure.labels["model"] for figure in asked} == {"default"}
    assert {figure.value for figure in asked} == {0, 1, 2}  # of three questions, one computed


def test_lease_defers_unload(make: Make) -> None:
    registry = make(m=custom())
    with registry.lease("m") as model:
        unloading = threading.Thread(target=registry.unload, args=("m",))
        unloading.start()
        time.sleep(0.05)
        assert unloading.is_alive()
        assert model.predict([1]) == [1]
    unloading.join(60)
    assert not registry.is_loaded("m")


def test_returned_model_stays_valid_after_unload(make: Make) -> None:
    registry = make(m=custom(bias=1))
    registry.load_all()
    model = registry.get_model("m")
    registry.unload("m")
    assert model.predict([1]) == [2]


def test_apredict_does_not_block_event_loop(make: Make) -> None:
    """The model answers only when the loop, which must go on turning, lets it."""
    gates.pop("loop", None)
    registry = make(m=custom("gated", name="loop"))

    async def main() -> Any:
        asked = asyncio.ensure_future(registry.apredict("m", [1]))
        await until(lambda: "loop" in gates)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.done()
        gates["loop"].set()
        return (await asked).output

    assert asyncio.run(main()) == [1]
