"""The real TextBlob, and a fake transformers pipeline."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.errors import InvalidInput, MissingExtra
from hotstart.kinds.sentiment import PipelineModel, Sentiment, label_of, load, of_polarity, predict
from kinds.malice import check_progress, material

TEXTS = ["What a great day, I love it!", "This is awful and sad.", "The chair is made of wood.", ""]
LABELS = ["positive", "negative", "neutral", "neutral"]


@pytest.fixture(scope="module")
def blob() -> Any:
    return load(material("textblob"), check_progress)


def test_textblob_returns_label_and_score(blob: Any) -> None:
    answers = blob.predict(TEXTS)
    assert [answer.label for answer in answers] == LABELS
    assert answers[0].score > 0.7
    assert answers[3] == Sentiment("neutral", 1.0)
    assert predict(blob, TEXTS, material("")) == [answer._asdict() for answer in answers]
    assert predict(blob, TEXTS[0], material("")) == predict(blob, TEXTS[:1], material(""))
    assert predict(blob, [], material("")) == []


def test_threads_load_and_call_textblob() -> None:
    with ThreadPoolExecutor(4) as threads:
        loaded = threads.map(lambda _: load(material("textblob"), check_progress), range(4))
        labels = [[answer.label for answer in model.predict(TEXTS)] for model in loaded]
    assert labels == [LABELS] * 4


def test_textblob_needs_no_network(python: Callable[..., CompletedProcess[str]]) -> None:
    code = """
import socket
def refuse(*arguments, **options):
    raise AssertionError("the network")
socket.socket.connect = socket.getaddrinfo = refuse
from hotstart.kinds import ModelSource
from hotstart.kinds.sentiment import load
print(load(ModelSource("m", "textblob"), lambda what, fraction: None).predict(["great"])[0].label)
"""
    process = python("-c", code)
    assert process.stdout.strip() == "positive", process.stderr


@given(st.floats(-1, 1))
def test_of_polarity_follows_the_formula(polarity: float) -> None:
    label, score = of_polarity(polarity)
    assert 0.5 < score <= 1
    if abs(polarity) < 0.05:
        assert (label, score) == ("neutral", 1 - abs(polarity))
    else:
        assert label == ("positive" if polarity > 0 else "negative")
        assert score == (1 + abs(polarity)) / 2


@pytest.mark.parametrize(
    ("label", "labels", "meaning"),
    [
        ("POSITIVE", 2, "positive"),
        ("NEG", 2, "negative"),
        ("LABEL_0", 2, "negative"),
        ("LABEL_1", 2, "positive"),
        ("LABEL_1", 3, "neutral"),
        ("LABEL_2", 3, "positive"),
        ("LABEL_2", 2, "label_2"),
        ("LABEL_0", 5, "label_0"),
        ("LABEL_", 2, "label_"),
        ("1 star", 5, "negative"),
        ("3 stars", 5, "neutral"),
        ("5 stars", 5, "positive"),
        (" Joy ", 6, "joy"),
    ],
)
def test_label_of_returns_the_meaning(label: str, labels: int, meaning: str) -> None:
    assert label_of(label, labels) == meaning


@pytest.mark.parametrize("inputs", [None, 3, {"text": "a"}, ["a", 3], ["a", None]])
def test_inputs_that_are_not_texts_raise(blob: Any, inputs: Any) -> None:
    with pytest.raises(InvalidInput, match="text"):
        predict(blob, inputs, material(""))


class Pipeline:
    """A fake of a transformers pipeline."""

    def __init__(self) -> None:
        self.model = SimpleNamespace(config=SimpleNamespace(id2label={0: "LABEL_0", 1: "LABEL_1"}))
        self.busy = False

    def __call__(self, texts: list[str], truncation: bool) -> list[dict[str, Any]]:
        assert truncation
        assert texts
        assert not self.busy
        self.busy = True
        try:
            return [{"label": f"LABEL_{len(text) % 2}", "score": 0.75} for text in texts]
        finally:
            self.busy = False


def test_a_pipeline_returns_labels_and_scores() -> None:
    model = PipelineModel(Pipeline())
    answers = [Sentiment("positive", 0.75), Sentiment("negative", 0.75)]
    assert model.predict(["a", "ab"]) == answers
    assert model.predict([]) == []
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(model.predict, [["a", "ab"]] * 50)) == [answers] * 50


def test_transformers_without_torch_raises_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers imports without torch, but raises ImportError when used."""

    def complain(*arguments: Any, **options: Any) -> None:
        raise ImportError("requires the PyTorch library")

    stand_in = SimpleNamespace(
        AutoTokenizer=SimpleNamespace(from_pretrained=complain),
        utils=SimpleNamespace(is_torch_available=lambda: False),
    )
    monkeypatch.setitem(sys.modules, "transformers", stand_in)
    with pytest.raises(MissingExtra, match=r"torch is not installed.*hotstart\[sentiment\]"):
        load(material("a/model"), check_progress)
    stand_in.utils.is_torch_available = lambda: True
    with pytest.raises(ImportError, match="requires the PyTorch") as caught:
        load(material("a/model"), check_progress)
    assert not isinstance(caught.value, MissingExtra)
