"""Texts to padded batches of token ids. The only file that imports `tokenizers`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart._lazy import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOKENIZER = "tokenizer.json"
TOKEN_BUDGET = 1024
"""Padding included. Larger batches are no faster on a CPU: their activations leave its caches."""


def open_tokenizer(path: str) -> Any:
    """Return the `tokenizers.Tokenizer` of the file `path`."""
    return require("tokenizers").Tokenizer.from_file(path)


class Tokenizer:
    """The tokenizer file of an artifact: limit and normalisation were settled at preparation."""

    def __init__(self, path: str) -> None:
        self._tokenizer = open_tokenizer(path)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's token ids, special tokens included, cut to the model's limit."""
        if len(texts) == 1:  # a batch of one would start the tokenizer's threads for nothing
            return [self._tokenizer.encode(texts[0]).ids]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]


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


def pad(
    ids: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return ids and attention mask, int32 (len(ids), longest), padded on the right."""
    width = max(map(len, ids))
    padded = np.full((len(ids), width), pad_token_id, np.int32)
    mask = np.zeros((len(ids), width), np.int32)
    for row, tokens in enumerate(ids):
        padded[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return padded, mask
