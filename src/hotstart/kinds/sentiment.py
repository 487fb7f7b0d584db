"""The kind `sentiment`: a transformers pipeline, or TextBlob."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from hotstart._lazy import require
from hotstart.config import read_settings
from hotstart.errors import DownloadFailed, InvalidInput, MissingExtra, ModelDamaged, ModelNotFound
from hotstart.files import constructing
from hotstart.kinds import ModelSource
from hotstart.types import Progress

_UNDECIDED = 0.05  # a lower polarity means that TextBlob's words are neutral or cancel out

_KNOWN = {
    **dict.fromkeys(("pos", "positive", "4 stars", "5 stars"), "positive"),
    **dict.fromkeys(("neg", "negative", "1 star", "2 stars"), "negative"),
    **dict.fromkeys(("neu", "neutral", "3 stars"), "neutral"),
}
_NUMBERED = {2: ("negative", "positive"), 3: ("negative", "neutral", "positive")}
"""Meanings of LABEL_0, LABEL_1, ... by the number of labels: the usual order of such models."""


class Sentiment(NamedTuple):
    """The sentiment of a text: label and score.

    Attributes:
        label: `positive`, `negative` or `neutral`, or the model's own label in lower case if its
            meaning is unknown.
        score: confidence of the label, 0 to 1.
    """

    label: str
    score: float


class SentimentModel(Protocol):
    """A loaded sentiment model of either library."""

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text, in order."""


class TextBlobModel:
    """TextBlob's pattern analyzer, without downloads.

    The mean polarity p is -1 to 1. The label is `positive` for p >= 0.05 and `negative` for
    p <= -0.05, with the score (1 + |p|) / 2. Otherwise it is `neutral`, with the score 1 - |p|.
    """

    def __init__(self) -> None:
        self._analyse = (
            require("textblob.en.sentiments", extra="textblob").PatternAnalyzer().analyze
        )
        self.predict([""])  # read the lexicon now, because concurrent calls would read it twice

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the sentiment of each text, in order."""
        return [of_polarity(self._analyse(text).polarity) for text in texts]


class PipelineModel:
    """A text-classification pipeline of transformers; long texts are truncated.

    Calls are serialized, because a tokenizer of transformers fails if two threads use it.
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._labels = len(pipeline.model.config.id2label)
        self._lock = threading.Lock()

    def predict(self, texts: Sequence[str]) -> list[Sentiment]:
        """Return the most likely label of each text, and its probability, in order."""
        if not texts:
            return []
        with self._lock:
            answers = self._pipeline(list(texts), truncation=True)
        return [
            Sentiment(label_of(answer["label"], self._labels), float(answer["score"]))
            for answer in answers
        ]


def load(material: ModelSource, report: Progress) -> SentimentModel:
    """Return the model `material.source`: `textblob`, a local folder, or a name on the hub.

    Options for a folder or a name: `allow_download` (default false), `device` (a torch device,
    default `cpu`), `revision`. Code of a repository is never run.

    Raises:
        MissingExtra: transformers, torch or TextBlob is not installed.
        ModelNotFound: the model is not on this machine, and downloads are not allowed.
        DownloadFailed: the download failed.
        ModelDamaged: the folder does not contain such a model.
    """
    report("importing", 0.0)
    return _LOADERS.get(material.source, _load_pipeline)(material, report)


def predict(model: SentimentModel, inputs: Any, material: ModelSource) -> list[dict[str, Any]]:
    """Return `label` and `score` (see Sentiment) of each text in `inputs`.

    Raises:
        InvalidInput: `inputs` is not a text or a list of texts.
    """
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, (list, tuple)):
        raise InvalidInput("inputs", got=type(texts).__name__, expected="a text or a list of texts")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(f"inputs[{position}]", got=text, expected="a text")
    return [sentiment._asdict() for sentiment in model.predict(texts)]


def of_polarity(polarity: float) -> Sentiment:
    """Return the sentiment of a polarity, -1 to 1, by the formula of TextBlobModel."""
    strength = min(abs(polarity), 1.0)
    if strength < _UNDECIDED:
        return Sentiment("neutral", 1.0 - strength)
    return Sentiment("positive" if polarity > 0 else "negative", (1.0 + strength) / 2)


def label_of(label: str, labels: int) -> str:
    """Return the meaning of a model's `label`, where `labels` is the number of its labels."""
    word = label.strip().lower()
    prefix, _, number = word.partition("label_")
    if not prefix and number.isdecimal() and int(number) < len(_NUMBERED.get(labels, ())):
        return _NUMBERED[labels][int(number)]
    return _KNOWN.get(word, word)


def _load_textblob(material: ModelSource, report: Progress) -> SentimentModel:
    return TextBlobModel()


def _load_pipeline(material: ModelSource, report: Progress) -> SentimentModel:
    with constructing:
        transformers = require("transformers", extra="sentiment")
        report("model", 0.5)
        try:
            return PipelineModel(_pipeline(transformers, material))
        except ImportError as error:
            if transformers.utils.is_torch_available():
                raise
            raise MissingExtra("torch", extra="sentiment") from error
        except (OSError, ValueError, KeyError) as error:
            raise _load_error(material, error) from error


def _pipeline(transformers: Any, material: ModelSource) -> Any:
    source = os.path.expanduser(material.source)
    if os.path.isdir(source) and not material.source.startswith((".", "/", "~")):
        # transformers would take a folder of the current folder for the model of its name.
        looked = [read_settings().hub_cache]
        raise ModelNotFound(material.source, looked=looked, on_hub=True, is_folder=True)
    options = {
        "local_files_only": not _may_download(material),
        "trust_remote_code": False,
        "cache_dir": read_settings().hub_cache,
        "revision": material.options.get("revision", "main"),
    }
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, **options)
    device = material.options.get("device", "cpu")
    return transformers.pipeline(
        "text-classification", model=model, tokenizer=tokenizer, device=device
    )


def _may_download(material: ModelSource) -> bool:
    """Return whether `allow_download` is True; a text such as "no" does not count."""
    return material.options.get("allow_download") is True


def _load_error(material: ModelSource, error: Exception) -> Exception:
    source = material.source
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if os.path.isdir(os.path.expanduser(source)):
        return ModelDamaged(source, reason=reason)
    if _may_download(material):
        return DownloadFailed(source, reason=reason)
    return ModelNotFound(source, looked=[read_settings().hub_cache], on_hub=True)


_LOADERS: dict[str, Callable[[ModelSource, Progress], SentimentModel]] = {
    "textblob": _load_textblob
}
