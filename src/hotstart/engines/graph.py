"""The base of engines of an ONNX graph: tokenize, batch, pad, run, restore the order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart._lazy import require
from hotstart.types import TOKENIZER, WORDPIECE, EngineOutput, PreparedModel, TextOrPair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.engines import Engine
    from hotstart.telemetry import Metric

    Run = Callable[[Iterable["Batch"]], Iterator[NDArray[np.float32]]]

TOKEN_BUDGET = 1024
"""Padding included. Larger batches are no faster on a CPU: their activations leave its caches."""


def import_tokenizers() -> Any:
    """Import the library before threads start: concurrent imports block each other."""
    return require("tokenizers")


def open_tokenizer(path: str) -> Any:
    """Return the `tokenizers.Tokenizer` of the file `path`.

    The tokenizer of an artifact has its vocabulary in a second file, one token a line.
    """
    tokenizers = import_tokenizers()
    tokenizer = tokenizers.Tokenizer.from_file(path)
    vocabulary = os.path.join(os.path.dirname(path), WORDPIECE)
    if os.path.exists(vocabulary):
        settings = ("unk_token", "max_input_chars_per_word", "continuing_subword_prefix")
        tokenizer.model = tokenizers.models.WordPiece.from_file(
            vocabulary, **{name: getattr(tokenizer.model, name) for name in settings}
        )
    return tokenizer


class Tokens(NamedTuple):
    """The token ids of one input, special tokens included, cut to the model's limit.

    Attributes:
        segments: text of the pair of each token, 0 or 1; None for a single text.
    """

    ids: list[int]
    segments: list[int] | None


class Batch(NamedTuple):
    """Inputs that run together, padded on the right; int32 (inputs, longest) each."""

    ids: NDArray[np.int32]
    mask: NDArray[np.int32]
    segments: NDArray[np.int32]


class Tokenizer:
    """The tokenizer of an artifact.

    Thread-safe, so that the engines of an artifact share one.
    """

    def __init__(self, path: str) -> None:
        self._tokenizer = open_tokenizer(path)

    def tokens(self, texts: Sequence[TextOrPair]) -> list[Tokens]:
        """Return the tokens of each text, or of each pair."""
        pairs = isinstance(texts[0], tuple)
        if len(texts) == 1:  # a batch of one would start the threads of the tokenizer
            encodings = [self._tokenizer.encode(*(texts[0] if pairs else texts))]
        else:
            encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [Tokens(each.ids, each.type_ids if pairs else None) for each in encodings]


def batches(
    lengths: Sequence[int], batch_size: int | None = None, budget: int = TOKEN_BUDGET
) -> Iterator[list[int]]:
    """Yield the positions of the texts of each batch, longest texts first.

    Texts of similar length share a batch to minimise padding. A batch has at most `batch_size`
    texts and, padded to its longest text, at most `budget` tokens; a single text may exceed the
    budget.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        fitting = max(1, budget // max(1, lengths[order[start]]))
        size = min(fitting, batch_size) if batch_size else fitting
        yield order[start : start + size]
        start += size


def pad(inputs: Sequence[Tokens], pad_token_id: int) -> Batch:
    """Return the batch of `inputs`; padding has segment 0."""
    width = max(len(tokens.ids) for tokens in inputs)
    padded = np.full((len(inputs), width), pad_token_id, np.int32)
    mask, segments = np.zeros((2, len(inputs), width), np.int32)
    for row, tokens in enumerate(inputs):
        padded[row, : len(tokens.ids)] = tokens.ids
        mask[row, : len(tokens.ids)] = 1
        if tokens.segments is not None:
            segments[row, : len(tokens.ids)] = tokens.segments
    return Batch(padded, mask, segments)


class GraphEngine:
    """The base of engines that run an ONNX graph.

    `run` takes batches and yields the vectors of each, in order. It may take several batches before
    it yields, to compute them concurrently. Several threads may call it.

    Attributes:
        tokenizer: tokenizer of the artifact; engines opened beside this one share it.
    """

    name: str

    def __init__(
        self, prepared: PreparedModel, open_run: Callable[[], Run], beside: GraphEngine | None
    ) -> None:
        """Open the graph; share the tokenizer of `beside`, an engine of the same artifact."""
        self.dimension = prepared.dimension
        self._pad_token_id = prepared.pad_token_id
        import_tokenizers()
        # In parallel: the tokenizer holds the GIL while it loads, a session releases it.
        opening = _Opening(open_run)
        opening.start()
        try:
            path = os.path.join(prepared.folder, TOKENIZER)
            self.tokenizer: Tokenizer = beside.tokenizer if beside else Tokenizer(path)
        finally:
            self._run: Run | None = opening.outcome()

    def embed(
        self,
        texts: Sequence[TextOrPair],
        batch_size: int | None = None,
        timeout: float | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        assert self._run is not None, "embed after close"
        vectors = np.empty((len(texts), self.dimension), np.float32)
        tokens = self.tokenizer.tokens(texts) if texts else []
        token_counts = [len(each.ids) for each in tokens]
        groups = list(batches(token_counts, batch_size))
        padded = (pad([tokens[i] for i in group], self._pad_token_id) for group in groups)
        for group, found in zip(groups, self._run(padded), strict=True):
            vectors[group] = found
        return EngineOutput(vectors, token_counts)

    def count(self, texts: Sequence[TextOrPair]) -> list[int]:
        """Return the number of tokens of each text, special tokens included."""
        return [len(ids) for ids, _ in self.tokenizer.tokens(texts)] if texts else []

    def metrics(self) -> tuple[Metric, ...]:
        """Return no metrics."""
        return ()

    def close(self) -> None:
        """Drop the session with its weights and working memory."""
        self._run = None


class _Opening(threading.Thread):
    """A thread that opens the graph; `outcome` waits for it and raises its error."""

    def __init__(self, open_run: Callable[[], Run]) -> None:
        super().__init__(name="hotstart-opening", daemon=True)
        self._open_run = open_run
        self._run_graph: Run | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._run_graph = self._open_run()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self._error = error

    def outcome(self) -> Run | None:
        self.join()
        if self._error is not None:
            raise self._error
        return self._run_graph


def feed(inputs: Mapping[str, Any], batch: Batch) -> dict[str, NDArray[Any]]:
    """Return the arrays of one batch for the `inputs` of the graph (name to NumPy type)."""
    given = {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        "token_type_ids": batch.segments,
    }
    return {name: given[name].astype(dtype, copy=False) for name, dtype in inputs.items()}


_BULK = 4096  # characters of the largest batch that counts as questions


class DualEngine:
    """Two engines of one artifact: one for questions, one for bulk work.

    Args:
        question: engine of small calls.
        bulk: engine of large calls, which gives its name.
    """

    def __init__(self, question: GraphEngine, bulk: Engine) -> None:
        self.name, self.dimension = bulk.name, bulk.dimension
        self._question, self._bulk = question, bulk

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the artifact; engines opened beside this one share it."""
        return self._question.tokenizer

    def embed(
        self, texts: Sequence[Any], batch_size: int | None = None, timeout: float | None = None
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        engine = self._bulk if _characters(texts) > _BULK else self._question
        return engine.embed(texts, batch_size, timeout)

    def count(self, texts: Sequence[Any]) -> list[int] | None:
        """Return the number of tokens of each text."""
        return self._question.count(texts)

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of both engines."""
        return chain(self._question.metrics(), self._bulk.metrics())

    def close(self) -> None:
        """Close both engines."""
        self._question.close()
        self._bulk.close()


def _characters(texts: Sequence[Any]) -> int:
    return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts)
