"""Pairs checked, scores made of logits, documents ranked: all without a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotstart.errors import InvalidInput, InvalidText
from hotstart.scoring import ACTIVATIONS, RankRequest, ScoreRequest
from hotstart.types import Classifier, EmbedOutput, Matrix, ModelInfo


def output_of(rows: NDArray[np.float32], info: ModelInfo) -> EmbedOutput:
    return EmbedOutput(Matrix.of(rows), info)


def card(*labels: str, activation: str = "identity") -> ModelInfo:
    return ModelInfo(len(labels), None, {}, None, "f", Classifier(labels, activation))


ONE = card("relevant")
THREE = card("a", "b", "c")
LOGITS = np.array([[1.0], [3.0], [1.0], [-2.0]], np.float32)


@pytest.mark.parametrize("inputs", [("a", "b"), ["a", "b"], np.array(["a", "b"])])
def test_a_pair_alone_gives_a_single_score(inputs: Any) -> None:
    request = ScoreRequest(inputs)
    assert request.inputs == [("a", "b")]
    score = request.result(output_of(LOGITS[:1], ONE))
    assert (score.shape, score.dtype, float(score)) == ((), np.float32, 1.0)
    assert request.result(output_of(np.ones((1, 3), np.float32), THREE)).shape == (3,)


@pytest.mark.parametrize(
    "inputs", [[("a", "b")], (("a", "b"),), [["a", "b"]], np.array([["a", "b"]])]
)
def test_a_list_of_one_pair_stays_a_list(inputs: Any) -> None:
    request = ScoreRequest(inputs)
    assert request.inputs == [("a", "b")]
    assert request.result(output_of(LOGITS[:1], ONE)).shape == (1,)


def test_no_pairs_give_no_scores() -> None:
    assert ScoreRequest([]).result(EmbedOutput(Matrix(b"", 1), ONE)).shape == (0,)
    assert ScoreRequest([]).result(EmbedOutput(Matrix(b"", 3), THREE)).shape == (0, 3)


@pytest.mark.parametrize("inputs", ["text", b"text", None, 5, {"a": "b"}, {("a", "b")}])
def test_what_holds_no_pairs_is_refused(inputs: Any) -> None:
    with pytest.raises(InvalidInput, match="a pair of texts, or a list of pairs"):
        ScoreRequest(inputs)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (("a",), "it is tuple of 1, not two texts"),
        (["a", "b", "c"], "it is list of 3, not two texts"),
        ("ab", "it is str, not two texts"),
        (None, "it is NoneType, not two texts"),
        (("a", None), "of its second text, it is NoneType"),
        ((5, "a"), "of its first text, it is int"),
        (("a", "\ud800"), "of its second text, character 0 is a lone surrogate"),
    ],
)
def test_a_bad_pair_is_named_by_its_position(bad: Any, said: str) -> None:
    with pytest.raises(InvalidText, match=said) as caught:
        ScoreRequest([("a", "b"), ("c", "d"), bad])
    assert caught.value.position == 2


def test_a_single_bad_pair_is_the_first() -> None:
    for bad in (("a",), ("a", "b", "c"), ("a", None)):
        with pytest.raises(InvalidText) as caught:
            ScoreRequest(bad)
        assert caught.value.position == 0


@pytest.mark.parametrize(
    "options", [{"activation": "gelu"}, {"activation": ""}, {"batch_size": 0}, {"batch_size": -1}]
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ScoreRequest([("a", "b")], **options)


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20))
def test_scores_are_finite_float32_of_one_shape(values: list[float]) -> None:
    logits = np.array([values], np.float32)
    for name, apply in ACTIVATIONS.items():
        scores = apply(logits)
        assert scores.dtype == np.float32, name
        assert scores.shape == logits.shape, name
        assert np.isfinite(scores).all(), name
        if name in {"sigmoid", "softmax", "tanh"}:
            assert ((scores >= -1) & (scores <= 1)).all(), name
    np.testing.assert_allclose(ACTIVATIONS["softmax"](logits).sum(), 1, rtol=1e-5)


def test_a_sigmoid_is_what_it_is() -> None:
    found = ACTIVATIONS["sigmoid"](np.array([[-200, -1, 0, 1, 200]], np.float32))
    np.testing.assert_allclose(found, [[0, 0.26894142, 0.5, 0.7310586, 1]], atol=1e-7)


def test_the_activation_that_is_asked_for_goes_before_the_models() -> None:
    model = card("relevant", activation="sigmoid")
    assert ScoreRequest(("a", "b")).result(output_of(LOGITS[:1], model)) == pytest.approx(0.7310586)
    assert (
        ScoreRequest(("a", "b"), activation="identity").result(output_of(LOGITS[:1], model)) == 1.0
    )


def test_a_ranking_is_best_first_and_keeps_the_order_of_equals() -> None:
    ranking = RankRequest("q", ["w", "x", "y", "z"], return_documents=True)
    assert ranking.model_inputs(ONE) == [("q", "w"), ("q", "x"), ("q", "y"), ("q", "z")]
    assert ranking.result(output_of(LOGITS, ONE)) == [
        {"corpus_id": 1, "score": 3.0, "text": "x"},
        {"corpus_id": 0, "score": 1.0, "text": "w"},
        {"corpus_id": 2, "score": 1.0, "text": "y"},
        {"corpus_id": 3, "score": -2.0, "text": "z"},
    ]


@pytest.mark.parametrize(("top_k", "count"), [(None, 4), (0, 0), (2, 2), (9, 4)])
def test_top_k_cuts_a_ranking(top_k: int | None, count: int) -> None:
    found = RankRequest("q", list("wxyz"), top_k=top_k).result(output_of(LOGITS, ONE))
    assert [entry["corpus_id"] for entry in found] == [1, 0, 2, 3][:count]
    assert all(entry.keys() == {"corpus_id", "score"} for entry in found)


@pytest.mark.parametrize(
    ("query", "documents", "options", "said"),
    [
        (None, ["a"], {}, "query"),
        (5, [], {}, "query"),
        ("q", "one text", {}, "documents"),
        ("q", None, {}, "documents"),
        ("q", ["a"], {"top_k": -1}, "top_k"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    query: Any, documents: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        RankRequest(query, documents, **options)


def test_a_bad_document_is_named_by_its_position() -> None:
    with pytest.raises(InvalidText) as caught:
        RankRequest("q", ["a", None])  # type: ignore[list-item]
    assert caught.value.position == 1


def test_a_model_of_several_labels_cannot_rank() -> None:
    with pytest.raises(InvalidInput, match="must be one label"):
        RankRequest("q", ["a"]).model_inputs(THREE)
