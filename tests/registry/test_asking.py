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


def test_a_loaded_model_is_got_at_once_and_counted(make: Make) -> None:
    registry = make(m=custom(bias=1))
    registry.load_all()
    assert registry.get_model("m") is registry.get_model("m")
    assert registry.models()["m"].uses == 2


def test_one_that_is_not_says_how_far_it_is_and_is_loaded_from_then_on(make: Make) -> None:
    gates.pop("g", None)
    registry = make(m=custom("gated", name="g"))
    with pytest.raises(ModelNotReady, match="'m' is loading"):
        registry.get_model("m")
    with pytest.raises(ModelNotReady):
        registry.get_model("m", timeout=0.05)
    gates["g"].set()
    assert registry.get_model("m", timeout=5).predict([1]) == [1]


def test_no_such_model(make: Make) -> None:
    registry = make(m=custom())
    for ask in (registry.get_model, registry.unload, registry.reload, registry.is_loaded):
        with pytest.raises(UnknownModel, match="No model is called 'n'"):
            ask("n")
    with pytest.raises(UnknownModel), registry.lease("n"):
        pass


def test_a_failed_load_is_told_with_its_reason(make: Make) -> None:
    registry = make(m=custom(error="the disk is full"))
    with pytest.raises(LoadFailed, match="the disk is full"):
        registry.predict("m", [1])


def test_the_fallback_answers_while_the_model_loads_and_says_so(make: Make) -> None:
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


def test_the_fallback_answers_for_one_that_failed_or_was_skipped(make: Make) -> None:
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


def test_where_the_fallback_fails_too_the_models_own_error_is_told(make: Make) -> None:
    registry = make(
        m={"kind": "sentiment", "source": "/nowhere", "fallback": "spare"},
        spare=custom(error="no"),
    )
    with pytest.raises(MissingExtra):
        registry.get_model("m", timeout=5)


def test_a_fallback_may_have_one_of_its_own(make: Make) -> None:
    registry = make(
        a=custom(error="a") | {"fallback": "b"},
        b=custom(error="b") | {"fallback": "c"},
        c=custom(bias=7),
    )
    answer = registry.predict("a", [0])
    assert answer[:3] == ([7], "c", "1")


def test_an_answer_that_fails_is_raised_and_counted_not_given_by_another(make: Make) -> None:
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


def test_one_key_is_always_answered_by_one_version(make: Make) -> None:
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


def test_an_embedding_model_is_an_embedder(make: Make) -> None:
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


def test_an_embedding_model_may_have_a_cache_whose_hits_are_among_the_figures(make: Make) -> None:
    registry = make(default={"source": "fake:name=cached", "cache": "memory:1MB"})
    registry.load_all()
    for _ in range(3):
        registry.predict("default", "one")
    asked = [f for f in registry.metrics() if f.name == "hotstart_cache_asked_total"]
    assert {figure.labels["model"] for figure in asked} == {"default"}
    assert {figure.value for figure in asked} == {0, 1, 2}  # of three questions, one computed


def test_while_a_model_is_used_it_is_not_unloaded(make: Make) -> None:
    registry = make(m=custom())
    with registry.lease("m") as model:
        unloading = threading.Thread(target=registry.unload, args=("m",))
        unloading.start()
        time.sleep(0.05)
        assert unloading.is_alive()
        assert model.predict([1]) == [1]
    unloading.join(5)
    assert not registry.is_loaded("m")


def test_what_was_got_stays_good_though_the_model_is_unloaded(make: Make) -> None:
    registry = make(m=custom(bias=1))
    registry.load_all()
    model = registry.get_model("m")
    registry.unload("m")
    assert model.predict([1]) == [2]


def test_asking_does_not_hold_up_the_loop(make: Make) -> None:
    registry = make(m=custom(seconds=0.4))

    async def main() -> Any:
        asked = asyncio.ensure_future(registry.apredict("m", [1]))
        ticks = 0
        while not asked.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks, (await asked).output

    ticks, output = asyncio.run(main())
    assert output == [1]
    assert ticks > 20
