"""One call of a reranker: what was asked, checked; the pairs to run; the form of the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hotstart.encoding import check_pairs
from hotstart.errors import InvalidInput
from hotstart.types import Classifier, ModelInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Logits = NDArray[np.float32]


def _sigmoid(logits: Logits) -> Logits:
    """In the form that never takes the exponential of a large number."""
    import numpy as np

    small = np.exp(-np.abs(logits))
    scores: Logits = np.where(logits >= 0, np.float32(1), small) / (1 + small)
    return scores


def _softmax(logits: Logits) -> Logits:
    import numpy as np

    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scaled: Logits = raised / raised.sum(axis=-1, keepdims=True)
    return scaled


def _tanh(logits: Logits) -> Logits:
    import numpy as np

    return np.tanh(logits)


ACTIVATIONS: dict[str, Callable[[Logits], Logits]] = {
    "identity": lambda logits: logits,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "tanh": _tanh,
}
"""What makes scores of logits, float32 (n, labels) both; the names are those of torch.nn."""


class ScoreRequest:
    """The arguments of `Reranker.predict`, which says what they mean. Raises InvalidInput.

    Attributes:
        pairs: to be scored.
        runs_alone: whether they are not to be run together with those of other calls.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        *,
        activation: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InvalidInput("batch_size", got=batch_size, expected="a positive number, or None")
        if activation is not None and activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}, or None for the model's own"
            raise InvalidInput("activation", got=activation, expected=expected)
        if isinstance(inputs, (str, bytes, dict)) or not hasattr(inputs, "__getitem__"):
            raise InvalidInput("inputs", got=inputs, expected="a pair of texts, or a list of pairs")
        self._alone = len(inputs) > 0 and isinstance(inputs[0], str)
        self.pairs = check_pairs([inputs] if self._alone else inputs)
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.runs_alone = bool(batch_size) or show_progress_bar or not self.pairs
        self._activation = activation

    def asked(self, card: ModelInfo) -> list[tuple[str, str]]:
        """Return what the model of `card` is asked."""
        return self.pairs

    def answer(self, logits: Logits, card: ModelInfo) -> Any:
        """Return what the call returns for the model's `logits` (n, labels)."""
        classifier = classifier_of(card)
        scores = ACTIVATIONS[self._activation or classifier.activation](logits)
        if len(classifier.labels) == 1:
            scores = scores[:, 0]
        return scores[0] if self._alone else scores


class RankRequest(ScoreRequest):
    """The arguments of `Reranker.rank`, which says what they mean. Raises InvalidInput."""

    def __init__(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_k: int | None = None,
        return_documents: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(query, str):
            raise InvalidInput("query", got=query, expected="a text")
        if isinstance(documents, (str, bytes, dict)) or not hasattr(documents, "__getitem__"):
            raise InvalidInput("documents", got=documents, expected="a list of texts")
        if top_k is not None and top_k < 0:
            raise InvalidInput("top_k", got=top_k, expected="how many to return, or None for all")
        super().__init__([(query, document) for document in documents], **options)
        self._documents = documents
        self._top_k = top_k
        self._return_documents = return_documents

    def asked(self, card: ModelInfo) -> list[tuple[str, str]]:
        """Return what the model of `card` is asked. InvalidInput where it has several labels."""
        labels = classifier_of(card).labels
        if len(labels) != 1:
            expected = "a model of one label to rank with, or ask predict"
            raise InvalidInput("labels", got=labels, expected=expected)
        return super().asked(card)

    def answer(self, logits: Logits, card: ModelInfo) -> list[dict[str, Any]]:
        """Return the documents' positions and scores, best first; equal ones as they came."""
        scores = super().answer(logits, card).tolist()
        ranked = [
            {"corpus_id": position, "score": score}
            | ({"text": self._documents[position]} if self._return_documents else {})
            for position, score in enumerate(scores)
        ]
        return sorted(ranked, key=lambda entry: entry["score"], reverse=True)[: self._top_k]


def classifier_of(card: ModelInfo) -> Classifier:
    """Return what the outputs of the reranker of `card` are."""
    assert card.classifier is not None, "a reranker's card says so"
    return card.classifier
