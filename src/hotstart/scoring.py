"""One call of a reranker: its checked arguments, the pairs to run, and the form of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hotstart.encoding import check_pairs
from hotstart.errors import InvalidInput, check_count
from hotstart.types import Classifier, EmbedOutput, ModelInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypedDict

    Logits = NDArray[np.float32]

    class ScoreOptions(TypedDict, total=False):
        """The keyword options of `Reranker.predict`, for methods that pass them on."""

        activation: str | None
        batch_size: int | None
        show_progress_bar: bool

    class RankOptions(ScoreOptions, total=False):
        """The keyword options of `Reranker.rank`, for methods that pass them on."""

        top_k: int | None
        return_documents: bool


def _sigmoid(logits: Logits) -> Logits:
    """Return the sigmoid without taking the exponential of a large number."""
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


def _relu(logits: Logits) -> Logits:
    import numpy as np

    positive: Logits = np.maximum(logits, np.float32(0))
    return positive


ACTIVATIONS: dict[str, Callable[[Logits], Logits]] = {
    "identity": lambda logits: logits,
    "sigmoid": _sigmoid,
    "softmax": _softmax,
    "tanh": _tanh,
    "relu": _relu,
}
"""What makes scores of logits, float32 (n, labels) both; the names are those of torch.nn."""


class ScoreRequest:
    """The checked arguments of `Reranker.predict`. Raises InvalidInput.

    Attributes:
        inputs: the pairs of texts to score.
        batch_size: maximal number of pairs in a batch; None for the token budget.
        show_progress_bar: whether to draw a bar on the terminal.
        runs_alone: whether the pairs must not share a batch with other calls.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        *,
        activation: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
    ) -> None:
        check_count("batch_size", batch_size, optional=True)
        if activation is not None and activation not in ACTIVATIONS:
            expected = f"one of {', '.join(ACTIVATIONS)}, or None for the model's own"
            raise InvalidInput("activation", got=activation, expected=expected)
        if isinstance(inputs, (str, bytes, dict)) or not hasattr(inputs, "__getitem__"):
            raise InvalidInput("inputs", got=inputs, expected="a pair of texts, or a list of pairs")
        self._is_single = len(inputs) > 0 and isinstance(inputs[0], str)
        self.inputs = check_pairs([inputs] if self._is_single else inputs)
        self.batch_size = batch_size
        self.show_progress_bar = show_progress_bar
        self.runs_alone = bool(batch_size) or show_progress_bar or not self.inputs
        self._activation = activation

    def model_inputs(self, info: ModelInfo) -> list[tuple[str, str]]:
        """Return the pairs; the model's default prompt comes before the first text of each."""
        prompt = info.prompts.get(info.default_prompt_name or "", "")
        return [(prompt + left, right) for left, right in self.inputs] if prompt else self.inputs

    def result(self, output: EmbedOutput) -> Any:
        """Return what the call returns for the logits of `output`, float32 (n, labels)."""
        classifier = classifier_of(output.info)
        scores = ACTIVATIONS[self._activation or classifier.activation](output.vectors.array())
        if len(classifier.labels) == 1:
            scores = scores[:, 0]
        return scores[0] if self._is_single else scores


class RankRequest(ScoreRequest):
    """The checked arguments of `Reranker.rank`. Raises InvalidInput."""

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
        if top_k is not None and (not isinstance(top_k, int) or top_k < 0):
            raise InvalidInput("top_k", got=top_k, expected="an integer from 0 on or None")
        super().__init__([(query, document) for document in documents], **options)
        self._documents = documents
        self._top_k = top_k
        self._return_documents = return_documents

    def model_inputs(self, info: ModelInfo) -> list[tuple[str, str]]:
        """Return the pairs; raise InvalidInput if the model has several labels."""
        labels = classifier_of(info).labels
        if len(labels) != 1:
            expected = "one label (use predict for a model of several labels)"
            raise InvalidInput("labels", got=labels, expected=expected)
        return super().model_inputs(info)

    def result(self, output: EmbedOutput) -> list[dict[str, Any]]:
        """Return positions and scores of the documents, best first, with a stable order."""
        scores = super().result(output).tolist()
        ranked = [
            {"corpus_id": position, "score": score}
            | ({"text": self._documents[position]} if self._return_documents else {})
            for position, score in enumerate(scores)
        ]
        return sorted(ranked, key=lambda entry: entry["score"], reverse=True)[: self._top_k]


def classifier_of(info: ModelInfo) -> Classifier:
    """Return the labels and the activation of the reranker of `info`."""
    assert info.classifier is not None, "the info of a reranker has a classifier"
    return info.classifier
