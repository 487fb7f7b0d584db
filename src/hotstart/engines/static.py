"""The engine of static embeddings (model2vec, StaticEmbedding): the mean of token vectors.

This engine reads the folder itself and returns the vectors of the library that saved it:
`model2vec.StaticModel`, or the module StaticEmbedding of sentence-transformers. Importing model2vec
takes 160 ms (60 ms for NumPy) and copies the table, which this engine maps.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart.engines.graph import coverage_of, open_tokenizer
from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.files import read_bounded
from hotstart.safetensors import read_header
from hotstart.types import TOKENIZER, Coverage, EngineOutput, Matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.telemetry import Metric

DEFAULT_MAX_LENGTH = 512
_LARGEST_JSON = 64_000_000  # bytes; see `hotstart.models.tokenizer`
_TENSORS = "model.safetensors"
_TABLES = ("embeddings", "embedding.weight")
"""Names of the table of token vectors, by model2vec and by sentence-transformers."""

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "i1"}


class _Layout(NamedTuple):
    """The files of a folder, and how its library reads them.

    Attributes:
        tensors: the table of token vectors.
        tokenizer: tokenizer.json.
        normalize: whether vectors are scaled to length 1.
        max_length: tokens kept of a text; None for no limit.
        keeps_unknown: whether the token for unknown words counts.
        smallest_norm: what a length is at least when it divides.
    """

    tensors: str
    tokenizer: str
    normalize: bool
    max_length: int | None
    keeps_unknown: bool
    smallest_norm: float


class StaticEngine:
    """Runs a static embedding model.

    A text without tokens has the zero vector. For model2vec unknown tokens are ignored and texts
    are cut; sentence-transformers does neither. `batch_size` is ignored, because every text is
    averaged separately.

    Attributes:
        max_seq_length: tokens kept of a text; None for no limit.
    """

    name = "static"

    def __init__(self, folder: str) -> None:
        layout = _layout_of(folder)
        tensors = _map_tensors(layout.tensors)
        table = next((name for name in _TABLES if name in tensors), None)
        if table is None:
            raise ModelDamaged(layout.tensors, reason=f"no tensor {' or '.join(_TABLES)}")
        self._table: NDArray[Any] | None = tensors[table]
        self._tensors_path = layout.tensors
        self._mapping = tensors.get("mapping")
        self._weights = tensors.get("weights")
        self._layout = layout
        self._words = _Words(layout)
        self.max_seq_length = layout.max_length
        if self._table.ndim != 2:
            reason = f"a table of shape {self._table.shape}"
            raise ModelDamaged(layout.tensors, reason=reason)
        self.dimension = int(self._table.shape[1])
        rows = len(self._table if self._mapping is None else self._mapping)
        if rows < self._words.size or (rows > self._words.size and not layout.keeps_unknown):
            reason = f"{rows} rows for the {self._words.size} tokens of {layout.tokenizer}"
            raise ModelDamaged(layout.tensors, reason=reason)

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
        if not self._layout.normalize:
            return EngineOutput(Matrix.of(means), token_counts)
        vectors = means.astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(lengths, np.float32(self._layout.smallest_norm))
        rounded_vectors = vectors.astype(rounded, copy=False)
        return EngineOutput(Matrix.of(rounded_vectors), token_counts)

    def coverage(self, text: str) -> Coverage:
        """Return how the tokenizer reads `text`."""
        return coverage_of(self._words.tokenizer, text)

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
    """Converts texts to token ids, without special tokens, as the library of the layout does."""

    def __init__(self, layout: _Layout) -> None:
        self.tokenizer = open_tokenizer(layout.tokenizer)
        self.tokenizer.no_padding()
        max_length = layout.max_length
        if not layout.keeps_unknown:
            self.tokenizer.no_truncation()
            if max_length is not None:
                self.tokenizer.enable_truncation(max_length)
        self._max_length = None if layout.keeps_unknown else max_length
        self._longest: int | None = None
        self._unknown = None if layout.keeps_unknown else _unknown_id(self.tokenizer)
        self.size: int = self.tokenizer.get_vocab_size(with_added_tokens=True)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each of `texts`."""
        encodings = self.tokenizer.encode_batch_fast(
            [self._cut(text) for text in texts], add_special_tokens=False
        )
        return [[id for id in each.ids if id != self._unknown] for each in encodings]

    def _cut(self, text: str) -> str:
        """Truncate a text to `max_length` tokens of median length, as model2vec does."""
        limit = self._max_length
        if limit is None or len(text) <= limit:  # the median is at least 1
            return text
        if self._longest is None:  # deferred to the first long text: it reads the whole vocabulary
            lengths = [len(token) for token in self.tokenizer.get_vocab()]
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
    """Return the layout of `folder`: that of model2vec if it has config.json and `embeddings`."""
    config = os.path.join(folder, "config.json")
    tensors = os.path.join(folder, _TENSORS)
    if os.path.isfile(config) and _is_table_of_model2vec(tensors):
        return _of_model2vec(folder, _read_json(config, dict))
    path = os.path.join(folder, "modules.json")
    modules = _read_json(path, list) if os.path.isfile(path) else []
    if not modules:
        names = [name for name in (config, tensors) if not os.path.isfile(name)]
        missing = [os.path.basename(name) for name in names] or ["modules.json"]
        raise ModelIncomplete(folder, folder=folder, missing=missing, on_hub=False)
    return _of_sentence_transformers(folder, path, modules)


def _is_table_of_model2vec(path: str) -> bool:
    return os.path.isfile(path) and "embeddings" in read_header(path)


def _of_model2vec(folder: str, config: dict[str, Any]) -> _Layout:
    layout = _Layout(
        tensors=os.path.join(folder, _TENSORS),
        tokenizer=os.path.join(folder, TOKENIZER),
        normalize=bool(config.get("normalize", False)),
        max_length=config.get("max_length", DEFAULT_MAX_LENGTH),
        keeps_unknown=False,
        smallest_norm=1e-32,
    )
    return _complete(folder, layout)


def _of_sentence_transformers(folder: str, path: str, modules: list[Any]) -> _Layout:
    """Return the layout that modules.json, the file `path`, describes."""
    try:
        names = [str(entry["type"]).rpartition(".")[2] for entry in modules]
        parts = [str(entry["path"]) for entry in modules]
    except (TypeError, LookupError) as error:
        raise ModelDamaged(path, reason=f"not a list of modules ({error!r})") from error
    supported = ("StaticEmbedding", "Normalize")
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        if name != supported[min(number, 1)]:
            raise UnsupportedModel(folder, feature="module", got=name, supported=supported)
        if os.path.isabs(part) or ".." in part.split("/"):
            reason = f"it names {part!r}, which is outside of its folder"
            raise ModelDamaged(path, reason=reason)
    for part in parts[1:]:
        _refuse_settings(folder, os.path.join(folder, part, "config.json"))
    home = os.path.normpath(os.path.join(folder, parts[0]))
    layout = _Layout(
        tensors=os.path.join(home, _TENSORS),
        tokenizer=os.path.join(home, TOKENIZER),
        normalize=len(parts) > 1,
        max_length=None,
        keeps_unknown=True,
        smallest_norm=1e-12,
    )
    layout = _complete(folder, layout)
    truncation = _read_json(layout.tokenizer, dict).get("truncation")
    return layout._replace(max_length=truncation["max_length"] if truncation else None)


def _refuse_settings(folder: str, path: str) -> None:
    """Raise UnsupportedModel for a Normalize module of other values than the sentence embedding."""
    config = _read_json(path, dict) if os.path.isfile(path) else {}
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            supported = ("sentence_embedding",)
            raise UnsupportedModel(folder, feature=key, got=config[key], supported=supported)


def _complete(folder: str, layout: _Layout) -> _Layout:
    missing = [path for path in (layout.tensors, layout.tokenizer) if not os.path.isfile(path)]
    if missing:
        names = [os.path.relpath(path, folder) for path in missing]
        raise ModelIncomplete(folder, folder=folder, missing=names, on_hub=False)
    return layout


def _read_json(path: str, kind: type[Any]) -> Any:
    try:
        content = json.loads(read_bounded(path, _LARGEST_JSON))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelDamaged(path, reason=f"unreadable ({error})") from error
    if not isinstance(content, kind):
        raise ModelDamaged(path, reason=f"a JSON {type(content).__name__}, not a {kind.__name__}")
    return content


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
