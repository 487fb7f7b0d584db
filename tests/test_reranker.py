"""The reranker's face over tiny models, their scores held against CrossEncoder's own."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart import Embedder, Reranker
from hotstart.config import Settings
from hotstart.errors import (
    ArtifactMissing,
    InvalidInput,
    InvalidText,
    ModelNotFound,
    NotReady,
)
from hotstart.models.artifacts import list_artifacts
from hotstart.pool.loader import load_model
from hotstart.pool.pool import Pool
from support.golden import RERANKERS, reranker_pairs

NAMES = sorted(folder.name for folder in RERANKERS.iterdir() if folder.is_dir())
PAIRS = reranker_pairs()


def golden(name: str, what: str) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.load(RERANKERS / name / f"{what}.npy")
    return found


def folder(name: str) -> str:
    return str(RERANKERS / name / "model")


@pytest.fixture
def reranker() -> Reranker:
    return Reranker(folder("bert"))


def test_every_family_has_golden_scores() -> None:
    assert len(PAIRS) >= 100
    for family in ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"):
        assert any(name.startswith(family) for name in NAMES), family


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_a_cross_encoder(name: str) -> None:
    model = Reranker(folder(name))
    for options, what in (({}, "scores"), ({"activation": "identity"}, "logits")):
        expected = golden(name, what)
        together = model.predict(PAIRS, **options)  # type: ignore[arg-type]
        alone = np.stack([model.predict(pair, **options) for pair in PAIRS])  # type: ignore[arg-type]
        for scores in (together, alone):
            assert (scores.shape, scores.dtype) == (expected.shape, np.float32)
            np.testing.assert_allclose(scores, expected, atol=1e-4, rtol=0)


def test_a_pair_is_not_its_two_texts_in_a_row(reranker: Reranker) -> None:
    """It matters which text comes first, and which text a token belongs to."""
    pair = ("hello world", "The cat sat on the mat.")
    assert abs(reranker.predict(pair) - reranker.predict(pair[::-1])) > 1e-3


def test_labels_and_limit_are_known_without_loading() -> None:
    model = Reranker(folder("bert-three-labels"), pool=Pool())
    assert model.labels == ("contradiction", "entailment", "neutral")
    assert (model.max_seq_length, model.state) == (32, "unloaded")
    assert Reranker(folder("distilbert")).labels == ("LABEL_0", "LABEL_1")
    assert Reranker(folder("bert")).max_seq_length == 64  # that many positions there are


def test_a_list_a_pair_and_nothing(reranker: Reranker) -> None:
    assert reranker.predict(PAIRS[:3]).shape == (3,)
    assert reranker.predict([PAIRS[0]]).shape == (1,)
    assert isinstance(reranker.predict(PAIRS[0]), np.float32)
    as_lists: list[Any] = [list(pair) for pair in PAIRS[3:5]]
    as_array: Any = np.array(as_lists)
    np.testing.assert_array_equal(reranker.predict(as_array), reranker.predict(as_lists))
    assert (reranker.predict([]).shape, reranker.predict([]).dtype) == ((0,), np.float32)
    three = Reranker(folder("bert-three-labels"))
    assert three.predict(PAIRS[0]).shape == (3,)
    assert three.predict([]).shape == (0, 3)
    sums = three.predict(PAIRS, activation="softmax").sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_the_batch_size_changes_no_score(reranker: Reranker, batch_size: int) -> None:
    scores = reranker.predict(PAIRS, batch_size=batch_size)
    np.testing.assert_allclose(scores, golden("bert", "scores"), atol=1e-5)


def test_documents_are_ranked(reranker: Reranker) -> None:
    query, documents = "the cat", [pair[1] for pair in PAIRS[:27]]
    scores = reranker.predict([(query, document) for document in documents])
    ranked = reranker.rank(query, documents, return_documents=True)
    assert [entry["corpus_id"] for entry in ranked] == np.argsort(-scores, kind="stable").tolist()
    assert all(type(entry["score"]) is float for entry in ranked)
    assert all(entry["text"] == documents[entry["corpus_id"]] for entry in ranked)
    best = reranker.rank(query, documents, top_k=3)
    assert best == [{k: entry[k] for k in ("corpus_id", "score")} for entry in ranked[:3]]
    assert reranker.rank(query, []) == []


def test_a_model_of_several_labels_predicts_and_does_not_rank() -> None:
    with pytest.raises(InvalidInput, match="use predict"):
        Reranker(folder("bert-three-labels")).rank("query", ["document"])


def test_a_bad_pair_is_refused_before_anything_is_loaded() -> None:
    model = Reranker(folder("bert"), pool=Pool())
    with pytest.raises(InvalidText) as caught:
        model.predict([("a", "b"), ("a", 5)])
    assert (caught.value.position, model.state) == (1, "unloaded")
    with pytest.raises(InvalidInput):
        model.rank("query", "one document")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "static"}, "an engine for a model of kind reranker: onnx, openvino, torch"),
        ({"max_length": 0}, "max_length must be a positive integer or None"),
        ({"device": "cuda"}, "other devices need engine torch"),
        ({"engine": "nothing"}, "one of onnx"),
        ({"precision": "int8"}, "float32, for a model of kind reranker"),
        ({"strategy": "soon"}, "strategy"),
    ],
)
def test_what_cannot_run_a_reranker_is_refused_at_once(options: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Reranker(folder("bert"), **options)


def test_an_address_names_no_reranker() -> None:
    with pytest.raises(InvalidInput, match="an engine for a model of kind reranker"):
        Reranker("openai:text-embedding-3-small")


@pytest.mark.parametrize("strategy", ["lazy", "background", "progressive", "quantized", "eager"])
def test_every_strategy_serves(strategy: str) -> None:
    model = Reranker(folder("bert"), strategy=strategy, pool=Pool())
    assert model.wait_ready(60)
    np.testing.assert_allclose(model.predict(PAIRS), golden("bert", "scores"), atol=1e-5)


def test_it_is_promoted_after_enough_pairs() -> None:
    model = Reranker(folder("bert"), pool=Pool())
    model.predict(PAIRS)
    ends = time.monotonic() + 20
    while "full" not in model.status().stages and time.monotonic() < ends:
        time.sleep(0.01)
    assert list(model.status().stages) == ["fast_start", "full"]
    np.testing.assert_allclose(model.predict(PAIRS), golden("bert", "scores"), atol=1e-5)


def test_cached_names_the_command_that_prepares_it(fresh: Settings) -> None:
    model = Reranker(folder("bert"), strategy="cached", pool=Pool())
    with pytest.raises(ArtifactMissing, match=r"hotstart models prepare .* --kind reranker"):
        model.wait_ready()


def test_one_folder_as_reranker_and_as_embedder(fresh: Settings) -> None:
    """Two artifacts, which know nothing of each other."""
    model = Reranker(folder("bert"), pool=Pool())
    before = model.predict(PAIRS[0])
    assert Embedder(folder("bert"), pool=Pool()).encode("text").shape == (32,)
    assert Reranker(folder("bert"), pool=Pool()).predict(PAIRS[0]) == before
    found = [artifact.folder.rpartition("/")[2] for artifact in list_artifacts(fresh)]  # type: ignore[union-attr]
    assert found == ["onnx-float32", "reranker-onnx-float32"]


def test_not_ready_in_time_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()

    def slow(*arguments: Any) -> Any:
        held.wait(60)
        return load_model(*arguments)

    monkeypatch.setattr("hotstart.pool.loader.load_model", slow)
    model = Reranker(folder("bert"), pool=Pool())
    with pytest.raises(NotReady, match="is loading"):
        model.predict(("a", "b"), timeout=0.05)
    with pytest.raises(NotReady, match="is loading"):
        model.rank("a", ["b"], timeout=0.05)
    held.set()
    assert model.wait_ready(60)  # the load went on


def test_apredict_does_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The load ends only when the loop, which must go on turning, lets it."""
    held = threading.Event()

    def slow(*arguments: Any) -> Any:
        assert held.wait(60), "the loop stood still"
        return load_model(*arguments)

    monkeypatch.setattr("hotstart.pool.loader.load_model", slow)

    async def main() -> None:
        model = Reranker(folder("bert"), pool=Pool())
        with pytest.raises(NotReady):
            await model.apredict(PAIRS[0], timeout=0.05)
        asked = [asyncio.create_task(model.apredict(pair)) for pair in PAIRS[:20]]
        ranked = asyncio.create_task(model.arank("a", ["b", "c"], top_k=1))
        await asyncio.sleep(0.05)
        asked[0].cancel()
        held.set()
        scores = np.stack(await asyncio.gather(*asked[1:]))
        np.testing.assert_allclose(scores, golden("bert", "scores")[1:20], atol=1e-5)
        assert await ranked == model.rank("a", ["b", "c"], top_k=1)
        assert model.status().loads == 1

    asyncio.run(main())


def test_a_failed_load_is_told(fresh: Settings) -> None:
    model = Reranker("nothing", pool=Pool())
    with pytest.raises(ModelNotFound, match="models--cross-encoder--nothing"):
        model.predict(("a", "b"))
    with pytest.raises(ModelNotFound):
        _ = model.labels


def test_its_memory_is_given_back() -> None:
    model = Reranker(folder("bert"), pool=Pool())
    score = model.predict(PAIRS[0])
    assert (model.state, model.engine) == ("ready", "onnx")
    model.unload()
    assert (model.state, model.engine) == ("unloaded", None)
    assert model.predict(PAIRS[0]) == score
    assert repr(model) == f"Reranker({model.model!r}, state='ready')"
