"""The engine of static embeddings (model2vec): the mean of token vectors.

This engine reads the folder itself and returns the vectors of `model2vec.StaticModel`. Importing
model2vec takes 160 ms (60 ms for NumPy) and copies the table, which this engine maps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart.engines.graph import open_tokenizer
from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.files import read_bounded
from hotstart.safetensors import read_header
from hotstart.types import TOKENIZER, EngineOutput, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.telemetry import Metric

DEFAULT_MAX_LENGTH = 512
_LARGEST_CONFIG = 16_000_000  # bytes
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1"}


class _Layout(NamedTuple):
    """The file layout of a folder, by model2vec or by sentence-transformers."""

    config: str
    part: str
    table: str

    def files(self, folder: str) -> tuple[str, str, str]:
        """Return the paths of configuration, tensors and tokenizer."""
        inner = os.path.join(folder, self.part)
        return (
            os.path.join(folder, self.config),
            os.path.join(inner, "model.safetensors"),
            os.path.join(inner, TOKENIZER),
        )


_LAYOUTS = (
    _Layout("config.json", "", "embeddings"),
    _Layout("config_sentence_transformers.json", "", "embedding.weight"),
    _Layout("config_sentence_transformers.json", "0_StaticEmbedding", "embedding.weight"),
)


class StaticEngine:
    """Runs a static embedding model (model2vec).

    Unknown tokens are ignored; a text without known tokens has the zero vector. `batch_size` is
    ignored, because every text is averaged separately.
    """

    name = "static"

    def __init__(self, folder: str) -> None:
        layout = _layout_of(folder)
        config_path, tensors_path, tokenizer_path = layout.files(folder)
        config = _read_config(config_path)
        tensors = _map_tensors(tensors_path)
        if layout.table not in tensors:
            raise ModelDamaged(tensors_path, reason=f"no tensor {layout.table}")
        self._table: NDArray[Any] | None = tensors[layout.table]
        self._tensors_path = tensors_path
        self._mapping = tensors.get("mapping")
        self._weights = tensors.get("weights")
        self._normalize = bool(config.get("normalize", False))
        self._words = _Words(tokenizer_path, config.get("max_length", DEFAULT_MAX_LENGTH))
        self.dimension = int(self._table.shape[1])
        rows = len(self._table if self._mapping is None else self._mapping)
        if rows != self._words.size:
            reason = f"{rows} rows for the {self._words.size} tokens of {tokenizer_path}"
            raise ModelDamaged(tensors_path, reason=reason)

    def embed(
        self,
        texts: Sequence[str],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        table = self._table
        assert table is not None, "embed after close"
        # A float16 table gives vectors rounded to float16, as in model2vec.
        rounded = table.dtype if table.dtype.kind == "f" else np.dtype(np.float32)
        means = np.zeros((len(texts), self.dimension), rounded)
        ids = self._words.ids(texts)
        token_counts = [len(tokens) for tokens in ids]
        for row, tokens in enumerate(ids):
            if tokens:
                means[row] = self._rows(table, np.array(tokens)).mean(axis=0)
        if not np.isfinite(means).all():
            raise ModelDamaged(self._tensors_path, reason="its vectors are not finite")
        if not self._normalize:
            return EngineOutput(Matrix.of(means), token_counts)
        vectors = means.astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True) + np.float32(1e-32)
        rounded_vectors = vectors.astype(rounded, copy=False)
        return EngineOutput(Matrix.of(rounded_vectors), token_counts)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the number of averaged tokens of each text."""
        return [len(tokens) for tokens in self._words.ids(texts)]

    def metrics(self) -> tuple[Metric, ...]:
        """Return no metrics."""
        return ()

    def close(self) -> None:
        """Release the mapped table."""
        self._table = self._mapping = self._weights = None

    def _rows(self, table: NDArray[Any], tokens: NDArray[np.int64]) -> NDArray[Any]:
        rows = table[tokens if self._mapping is None else self._mapping[tokens]]
        return rows if self._weights is None else rows * self._weights[tokens, None]


class _Words:
    """Converts texts to token ids, without special and unknown tokens, as model2vec does."""

    def __init__(self, path: str, max_length: int | None) -> None:
        self._tokenizer = open_tokenizer(path)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if max_length is not None:
            self._tokenizer.enable_truncation(max_length)
        self._max_length = max_length
        self._longest: int | None = None
        self._unknown = _unknown_id(self._tokenizer)
        self.size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each of `texts`."""
        encodings = self._tokenizer.encode_batch_fast(
            [self._cut(text) for text in texts], add_special_tokens=False
        )
        return [[id for id in each.ids if id != self._unknown] for each in encodings]

    def _cut(self, text: str) -> str:
        """Truncate a text to `max_length` tokens of median length, as model2vec does."""
        limit = self._max_length
        if limit is None or len(text) <= limit:  # the median is at least 1
            return text
        if self._longest is None:  # deferred to the first long text: it reads the whole vocabulary
            lengths = [len(token) for token in self._tokenizer.get_vocab()]
            self._longest = limit * int(np.median(lengths))
        return text[: self._longest]


def _unknown_id(tokenizer: Any) -> int | None:
    """Return the id of the token for unknown words, or None."""
    model = tokenizer.model
    unknown: int | None = None
    if not hasattr(model, "unk_token"):  # Unigram; WordPiece, BPE and WordLevel have unk_token
        unknown = json.loads(tokenizer.to_str())["model"].get("unk_id")
    elif model.unk_token is not None:
        unknown = tokenizer.token_to_id(model.unk_token)
    return unknown


def _layout_of(folder: str) -> _Layout:
    for layout in _LAYOUTS:
        if all(map(os.path.isfile, layout.files(folder))):
            return layout
    missing = [path for path in _LAYOUTS[0].files(folder) if not os.path.isfile(path)]
    names = [os.path.basename(path) for path in missing]
    raise ModelIncomplete(folder, folder=folder, missing=names, on_hub=False)


def _read_config(path: str) -> dict[str, Any]:
    try:
        return dict(json.loads(read_bounded(path, _LARGEST_CONFIG)))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelDamaged(path, reason=f"unreadable ({error})") from error


def _map_tensors(path: str) -> dict[str, NDArray[Any]]:
    """Return the tensors of a safetensors file by name, as views of the mapped file."""
    header = read_header(path)
    for name, tensor in header.items():
        if tensor.dtype not in _DTYPES:
            raise UnsupportedModel(
                os.path.dirname(path),
                feature=f"dtype of {name}",
                got=tensor.dtype,
                supported=tuple(_DTYPES),
            )
    raw = np.asarray(np.memmap(path, np.uint8, "r"))
    return {
        name: raw[tensor.offset : tensor.offset + tensor.length]
        .view(_DTYPES[tensor.dtype])
        .reshape(tensor.shape)
        for name, tensor in header.items()
    }
