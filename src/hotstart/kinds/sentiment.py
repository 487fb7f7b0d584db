"""What a text feels like: a transformers pipeline, or TextBlob, which needs no more than itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from hotstart._lazy import require
from hotstart.errors import InvalidInput, MissingExtra
from hotstart.kinds.base import Material
from hotstart.locks import constructing
from hotstart.types import Progress

TEXTBLOB = "textblob"
_NEUTRAL = 0.05  # of TextBlob's polarity, below which a text is neither
_LABELS = {"pos": "positive", "neg": "negative", "neu": "neutral"}


class Sentiment(NamedTuple):
    """What a text was found to be: `label` positive, negative, neutral, or a model's own word in
    lower case; `score` from 0 to 1, how sure that is."""

    label: str
    score: float


class Analyzer(Protocol):
    """Tells the sentiment of texts."""

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text."""


class TextBlobAnalyzer:
    """TextBlob's lexicon of English words, with polarity p from -1 to 1.

    |p| < 0.05 is neutral, scored 1 - |p|; else the sign decides, scored (1 + |p|) / 2.
    """

    def __init__(self) -> None:
        self._textblob = require("textblob", extra="textblob")
        self.predict(["warm"])  # reads the lexicon

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text."""
        return [_judge(float(self._textblob.TextBlob(text).sentiment.polarity)) for text in texts]


class PipelineAnalyzer:
    """A text-classification pipeline of transformers. Calls from several threads take turns."""

    def __init__(self, source: str, *, allow_download: bool) -> None:
        with constructing:
            transformers = require("transformers", extra="sentiment")
            if not transformers.is_torch_available():
                raise MissingExtra("torch", extra="sentiment")
            local = {"local_files_only": not allow_download}
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **local)
            model = transformers.AutoModelForSequenceClassification.from_pretrained(source, **local)
            self._pipeline = transformers.pipeline(
                "text-classification", model=model, tokenizer=tokenizer
            )
        self._turn = threading.Lock()

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text, cut to what the model reads."""
        with self._turn:
            found = self._pipeline(list(texts), truncation=True)
        return [Sentiment(_label(entry["label"]), float(entry["score"])) for entry in found]


def load(material: Material, report: Progress) -> Analyzer:
    """Return what analyses texts: `textblob`, or the pipeline of a folder or a hub's model.

    The hub's cache on this machine is looked into; `material.options["allow_download"]` lets it
    be fetched. Code that a repository brings is never run.

    Raises:
        MissingExtra: TextBlob, or transformers and torch, are not installed.
        OSError: transformers finds no such model.
    """
    report("libraries", 0.1)
    if material.source == TEXTBLOB:
        return TextBlobAnalyzer()
    return PipelineAnalyzer(
        material.source, allow_download=material.options.get("allow_download") is True
    )


def predict(model: Analyzer, inputs: Any, material: Material) -> Any:
    """Return {"label", "score"} for a text, a list of them for a list."""
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidInput("inputs", got=inputs, expected="a text or a list of texts")
    found = [sentiment._asdict() for sentiment in model.predict(texts)]
    return found[0] if isinstance(inputs, str) else found


def _judge(polarity: float) -> Sentiment:
    strength = abs(polarity)
    if strength < _NEUTRAL:
        return Sentiment("neutral", 1 - strength)
    return Sentiment("positive" if polarity > 0 else "negative", (1 + strength) / 2)


def _label(given: str) -> str:
    """Models write POSITIVE, pos and Positive alike."""
    lowered = given.lower()
    return _LABELS.get(lowered[:3], lowered) if lowered[:3] in _LABELS else lowered
