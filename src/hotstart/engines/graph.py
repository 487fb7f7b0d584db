"""What every engine that runs an artifact's graph shares: tokenise, batch, feed, put in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart.engines.text import TOKENIZER, Batch, Tokenizer, batches, import_tokenizers, pad
from hotstart.types import Asked, Prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.telemetry import Figure

    Run = Callable[[Iterable[Batch]], Iterator[NDArray[np.float32]]]


class GraphEngine:
    """Texts to vectors around `run`, which an engine supplies.

    `run` takes batches and yields the vectors of each, in their order. It may draw several batches
    before it yields, to have them computed side by side, and it is called from several threads at
    once.

    Attributes:
        tokenizer: the artifact's, which engines opened beside this one share.
    """

    name: str

    def __init__(
        self, prepared: Prepared, open_run: Callable[[], Run], beside: GraphEngine | None
    ) -> None:
        """Open what runs the graph; the tokenizer is that of `beside`, on the same artifact."""
        self.dimension = prepared.dimension
        self._pad_token_id = prepared.pad_token_id
        import_tokenizers()
        # Side by side: the tokenizer holds the interpreter while it loads, a session lets go of it.
        opening = _Opening(open_run)
        opening.start()
        try:
            path = os.path.join(prepared.folder, TOKENIZER)
            self.tokenizer: Tokenizer = beside.tokenizer if beside else Tokenizer(path)
        finally:
            self._run: Run | None = opening.outcome()

    def embed(
        self, texts: Sequence[Asked], batch_size: int | None = None, timeout: float | None = None
    ) -> NDArray[np.float32]:
        """Return the vectors of `texts`, float32 (len(texts), dimension), in their order."""
        assert self._run is not None, "embed after close"
        vectors = np.empty((len(texts), self.dimension), np.float32)
        tokens = self.tokenizer.tokens(texts) if texts else []
        groups = list(batches([len(ids) for ids, _ in tokens], batch_size))
        padded = (pad([tokens[i] for i in group], self._pad_token_id) for group in groups)
        for group, found in zip(groups, self._run(padded), strict=True):
            vectors[group] = found
        return vectors

    def count(self, texts: Sequence[Asked]) -> list[int]:
        """Return how many tokens of each text are run, special ones included."""
        return [len(ids) for ids, _ in self.tokenizer.tokens(texts)] if texts else []

    def figures(self) -> tuple[Figure, ...]:
        """Return nothing: it counts nothing."""
        return ()

    def close(self) -> None:
        """Drop what runs the graph, and with it the weights and the working memory."""
        self._run = None


class _Opening(threading.Thread):
    """Opens what runs the graph; `outcome` waits for it, and raises what it raised."""

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
    """Return what the graph's `inputs` (name to NumPy type) are given for one batch."""
    given = {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        "token_type_ids": batch.segments,
    }
    return {name: given[name].astype(dtype, copy=False) for name, dtype in inputs.items()}
