"""Texts to padded batches of token ids. The only file that imports `tokenizers`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart._lazy import require
from hotstart.types import Asked

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENIZER = "tokenizer.json"
_WORDPIECE = "wordpiece.txt"
TOKEN_BUDGET = 1024
"""Padding included. Larger batches are no faster on a CPU: their activations leave its caches."""


def import_tokenizers() -> Any:
    """Import the library: ahead of threads, for two that import get in each other's way."""
    return require("tokenizers")


def open_tokenizer(path: str) -> Any:
    """Return the `tokenizers.Tokenizer` of the file `path`.

    An artifact's has its vocabulary in a file beside it, a token a line.
    """
    tokenizers = import_tokenizers()
    tokenizer = tokenizers.Tokenizer.from_file(path)
    vocabulary = os.path.join(os.path.dirname(path), _WORDPIECE)
    if os.path.exists(vocabulary):
        settings = ("unk_token", "max_input_chars_per_word", "continuing_subword_prefix")
        tokenizer.model = tokenizers.models.WordPiece.from_file(
            vocabulary, **{name: getattr(tokenizer.model, name) for name in settings}
        )
    return tokenizer


class Tokens(NamedTuple):
    """One input's token ids, special tokens included, cut to the model's limit.

    Attributes:
        segments: which text of a pair each belongs to, 0 or 1; None for a text alone.
    """

    ids: list[int]
    segments: list[int] | None


class Batch(NamedTuple):
    """Inputs that run together, padded on the right; int32 (inputs, longest) each."""

    ids: NDArray[np.int32]
    mask: NDArray[np.int32]
    segments: NDArray[np.int32]


class Tokenizer:
    """An artifact's tokenizer: limit and normalisation were settled at preparation.

    Safe from any thread, and so one serves every engine of an artifact.
    """

    def __init__(self, path: str) -> None:
        self._tokenizer = open_tokenizer(path)

    def tokens(self, texts: Sequence[Asked]) -> list[Tokens]:
        """Return the tokens of each text, or of each pair."""
        pairs = isinstance(texts[0], tuple)
        if len(texts) == 1:  # a batch of one would start the tokenizer's threads for nothing
            encodings = [self._tokenizer.encode(*(texts[0] if pairs else texts))]
        else:
            encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [Tokens(each.ids, each.type_ids if pairs else None) for each in encodings]


def batches(
    lengths: Sequence[int], batch_size: int | None = None, budget: int = TOKEN_BUDGET
) -> Iterator[list[int]]:
    """Yield the positions of texts that run together, longest first, each position once.

    Texts of like length share a batch, so that little of it is padding. A batch holds at most
    `batch_size` texts and, padded to its longest, at most `budget` tokens; a single text may
    exceed the budget.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        fitting = max(1, budget // max(1, lengths[order[start]]))
        size = min(fitting, batch_size) if batch_size else fitting
        yield order[start : start + size]
        start += size


def pad(inputs: Sequence[Tokens], pad_token_id: int) -> Batch:
    """Return the batch that `inputs` make; padding is of the first segment."""
    width = max(len(tokens.ids) for tokens in inputs)
    padded = np.full((len(inputs), width), pad_token_id, np.int32)
    mask, segments = np.zeros((2, len(inputs), width), np.int32)
    for row, tokens in enumerate(inputs):
        padded[row, : len(tokens.ids)] = tokens.ids
        mask[row, : len(tokens.ids)] = 1
        if tokens.segments is not None:
            segments[row, : len(tokens.ids)] = tokens.segments
    return Batch(padded, mask, segments)
