"""Base of engines that run an ONNX graph: tokenize, batch, pad, run, restore the order.

The file holds the whole way of a text through an engine, because a reader follows it step by step,
and because each first vector pays for the import of each file.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart._lazy import require
from hotstart.concurrency import active_work
from hotstart.errors import InvalidInput, ModelDamaged, described
from hotstart.ort import OrtValue, RuntimeFault
from hotstart.types import (
    WORDPIECE,
    ChatTemplate,
    Coverage,
    EngineOutput,
    Matrix,
    PreparedModel,
    Returns,
    TaskText,
    TextOrPair,
    TokenSettings,
)

if TYPE_CHECKING:
    from hotstart.telemetry import Metric

    Run = Callable[[Iterable["Batch"]], Iterator[bytes | bytearray]]

TOKEN_BUDGET = 1024
"""Maximum tokens of a batch, padding included.

Larger batches are not faster on a CPU, because their activations do not fit its caches.
"""


def import_tokenizers() -> Any:
    """Import tokenizers before threads start, because concurrent imports block one another."""
    return require("tokenizers")


def open_tokenizer(path: str) -> Any:
    """Return the `tokenizers.Tokenizer` of the file `path`.

    An artifact stores the vocabulary in a separate file, one token per line.
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


def coverage_of(tokenizer: Any, text: str) -> Coverage:
    """Return how a `tokenizers.Tokenizer` reads `text`, special tokens and punctuation aside."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    unknown = getattr(tokenizer.model, "unk_token", None)
    tokens = letters_unknown = 0
    for token, (start, stop) in zip(encoding.tokens, encoding.offsets, strict=True):
        letters = sum(map(str.isalnum, text[start:stop]))
        if token == unknown:
            letters_unknown += letters
        elif letters:
            tokens += 1
    return Coverage(tokens, letters_unknown)


class Tokens(NamedTuple):
    """The token ids of one input, with special tokens, truncated to the model's limit.

    Attributes:
        segments: for a pair, the text (0 or 1) of each token; None for a single text.
        prompt: the number of tokens before the text itself, for a model that reads the prompt.
        unattended: the number of tokens at the end that no token attends to.
        kept: the positions of the tokens that have a vector or a weight; None for all.
    """

    ids: list[int]
    segments: list[int] | None
    prompt: int = 0
    unattended: int = 0
    kept: Sequence[int] | None = None


class Batch(NamedTuple):
    """Inputs of one run, padded on the right, row after row.

    Attributes:
        ids: the tokens.
        mask: 1 for a token, 0 for padding.
        segments: the text (0 or 1) of each token.
        pooled: 1 for a token that is pooled: without padding and prompt.
        shape: the number of inputs, and the tokens of the longest.
    """

    ids: list[int]
    mask: list[int]
    segments: list[int]
    pooled: list[int]
    shape: tuple[int, int]


class Tokenizer:
    """The tokenizer of an artifact.

    It is thread-safe, so all engines of an artifact share one tokenizer.
    """

    def __init__(self, path: str, settings: TokenSettings | None = None) -> None:
        """Open the file at `path`. Texts of a task have the tokens that `settings` say."""
        self._path = path
        self._tokenizer = open_tokenizer(path)
        self._prompts: dict[str, int] = {}
        self._settings = settings
        if settings is not None:
            found = [self._tokenizer.token_to_id(token) for token in settings.skiplist]
            self._skiplist = {number for number in found if number is not None}
            mask = self._tokenizer.encode("a").special_tokens_mask
            self._after = next((n for n, special in enumerate(mask[::-1]) if not special), 0)
            self._limit, self._suffix = _end(self._tokenizer, settings.template)

    def tokens(self, texts: Sequence[TextOrPair]) -> list[Tokens]:
        """Return the tokens of each text, or of each pair.

        Raises:
            ModelDamaged: the tokenizer fails, as when its parts contradict one another.
        """
        settings = self._settings
        texts = self._written(texts)
        pairs = isinstance(texts[0], tuple)
        try:
            if len(texts) == 1:  # encode_batch_fast would start threads for a single text
                encodings = [self._tokenizer.encode(*(texts[0] if pairs else texts))]
            else:
                encodings = self._tokenizer.encode_batch_fast(list(texts))
        except BaseException as error:
            # The library raises plain Exceptions, and panics of Rust, which are no Exceptions.
            if type(error) is not Exception and type(error).__name__ != "PanicException":
                raise
            raise ModelDamaged(self._path, reason=f"it fails ({described(error)})") from error
        if pairs:
            return [Tokens(each.ids, each.type_ids) for each in encodings]
        if settings is not None and settings.template is not None:
            return [Tokens(self._ended(each.ids), None) for each in encodings]
        tokens = [
            Tokens(each.ids, None, self._prompt_length(text))
            for text, each in zip(texts, encodings, strict=True)
        ]
        if settings is None:
            return tokens
        tasks = [text.task if isinstance(text, TaskText) else "" for text in texts]
        return [
            self._of_task(each, task, settings) for each, task in zip(tokens, tasks, strict=True)
        ]

    def _written(self, texts: Sequence[TextOrPair]) -> Sequence[TextOrPair]:
        """Return `texts` within the chat template, if the model has one."""
        template = self._settings.template if self._settings is not None else None
        return texts if template is None else [template.render(text) for text in texts]

    def _ended(self, ids: list[int]) -> list[int]:
        """Return `ids`, which end as the chat template does although they were cut."""
        if len(ids) < self._limit or not self._suffix:
            return ids
        return ids[: -len(self._suffix)] + self._suffix[-len(ids) :]

    def _of_task(self, tokens: Tokens, task: str, settings: TokenSettings) -> Tokens:
        """Return `tokens` cut and filled up for `task`, with the positions that are kept."""
        expansion = settings.expansion if task == "query" else None
        limits = {"query": settings.query_length, "document": settings.document_length}
        limit = limits.get(task, settings.length)
        if expansion is not None and limit is not None:
            limit = expansion.length if expansion.is_fixed else max(limit, expansion.length)
        ids = tokens.ids
        if limit is not None and len(ids) > limit:
            end = len(ids) - self._after
            ids = ids[: max(0, limit - self._after)] + ids[end:]
        filled = max(0, expansion.length - len(ids)) if expansion is not None else 0
        if expansion is not None and filled:
            ids = ids + [self._tokenizer.token_to_id(expansion.token)] * filled
        skipped = self._skiplist if (task or "document") in settings.skiplist_tasks else ()
        kept = None
        if skipped or settings.skipped:
            kept = [n for n in range(settings.skipped, len(ids)) if ids[n] not in skipped]
        unattended = 0 if expansion is None or expansion.is_attended else filled
        return Tokens(ids, None, tokens.prompt, unattended, kept)

    def _prompt_length(self, text: TextOrPair) -> int:
        """Return the number of tokens of the prompt, as sentence-transformers counts them.

        The special tokens before it are counted too, and one at its end is not.
        """
        prompt = text.prompt if isinstance(text, TaskText) else ""
        if prompt and prompt not in self._prompts:
            ids = self._tokenizer.encode(prompt).ids
            added = self._tokenizer.get_added_tokens_decoder()
            ends_special = bool(ids) and ids[-1] in added and added[ids[-1]].special
            self._prompts[prompt] = len(ids) - ends_special
        return self._prompts[prompt] if prompt else 0

    def check(self, texts: Sequence[TextOrPair], tokens: Sequence[Tokens], rows: int) -> None:
        """Raise InvalidInput for a text with a token from `rows` on."""
        for text, each in zip(texts, tokens, strict=True):
            largest = max(each.ids, default=0)
            if largest >= rows:
                token = self._tokenizer.id_to_token(largest)
                expected = f"texts without {token!r}, a token that the model has no embedding of"
                raise InvalidInput("inputs", got=text, expected=expected)

    def coverage(self, text: str) -> Coverage:
        """Return how the tokenizer reads `text`."""
        return coverage_of(self._tokenizer, text)

    def too_long(self, texts: Sequence[str]) -> list[int]:
        """Return the positions of the texts that are cut at the model's limit."""
        encodings = self._tokenizer.encode_batch(list(self._written(texts)))
        return [position for position, each in enumerate(encodings) if each.overflowing]


def _end(tokenizer: Any, template: ChatTemplate | None) -> tuple[int, list[int]]:
    """Return the most tokens of a text, and those that end every text of a chat template.

    The template's are what two unlike texts end with, as sentence-transformers finds them.
    """
    cut = tokenizer.truncation
    if template is None or cut is None:
        return 0, []
    tokenizer.no_truncation()
    first, second = (
        tokenizer.encode(template.render((text, text))).ids[::-1] for text in ("0", "1 2 3 4")
    )
    tokenizer.enable_truncation(**cut)
    pairs = zip(first, second, strict=False)
    count = next((n for n, (left, right) in enumerate(pairs) if left != right), 0)
    return cut["max_length"], first[:count][::-1]


def batches(
    lengths: Sequence[int], batch_size: int | None = None, budget: int = TOKEN_BUDGET
) -> Iterator[list[int]]:
    """Yield the positions of the texts of each batch, longest texts first.

    Texts of similar length share a batch, which reduces padding. A batch has at most `batch_size`
    texts and, with padding, at most `budget` tokens. A single text may exceed the budget.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        size = max(1, budget // max(1, lengths[order[start]]))
        if batch_size:
            size = min(size, batch_size)
        yield order[start : start + size]
        start += size


def pad(inputs: Sequence[Tokens], pad_token_id: int) -> Batch:
    """Return `inputs` as one batch; padding has segment 0."""
    width = _width(inputs)
    padded: list[int] = []
    mask: list[int] = []
    segments: list[int] = []
    pooled: list[int] = []
    for tokens in inputs:
        length = len(tokens.ids)
        padding = width - length
        padded += tokens.ids + [pad_token_id] * padding
        attended = length - tokens.unattended
        mask += [1] * attended + [0] * (width - attended)
        segments += (tokens.segments or [0] * length) + [0] * padding
        before = min(tokens.prompt, length)
        pooled += [0] * before + [1] * (length - before) + [0] * padding
    return Batch(padded, mask, segments, pooled, (len(inputs), width))


def _width(inputs: Sequence[Tokens]) -> int:
    """Return the tokens of the longest input; a text without special tokens may have none."""
    return max(1, *(len(tokens.ids) for tokens in inputs))


class GraphEngine:
    """The base of engines that run an ONNX graph.

    `open_run` returns a function that takes batches and yields the vectors of each batch in order,
    as the bytes of float32 (inputs, dimension). The function may take several batches before it
    yields, to compute them concurrently. It is called from several threads.

    Attributes:
        tokenizer: the artifact's tokenizer; engines opened `beside` this engine share it.
    """

    name: str

    def __init__(
        self, prepared: PreparedModel, open_run: Callable[[], Run], beside: GraphEngine | None
    ) -> None:
        """Open the graph, and the tokenizer unless `beside` has it."""
        self.dimension = prepared.dimension
        self._folder = prepared.folder
        self._pad_token_id = prepared.pad_token_id
        self._returns = prepared.graphs.returns
        self._rows = prepared.graphs.rows
        import_tokenizers()
        # Load both concurrently: loading a tokenizer holds the GIL, loading a session does not.
        opener = _Opener(open_run)
        opener.start()
        try:
            path = os.path.join(prepared.folder, prepared.tokenizer)
            self.tokenizer: Tokenizer = (
                beside.tokenizer if beside else Tokenizer(path, prepared.tokens)
            )
        finally:
            self._run: Run | None = opener.result()

    def embed(
        self,
        texts: Sequence[TextOrPair],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts.

        A text without a token has a vector of zeros.

        Raises:
            InvalidInput: a text has a token that the model has no embedding of.
            ModelDamaged: the graph cannot be run, or a vector has numbers that are not finite, as
                after damage to the weights.
            CancelledError: `is_cancelled` returned true.
        """
        assert self._run is not None, "embed after close"
        tokens = self.tokenizer.tokens(texts) if texts else []
        if self._rows is not None:
            self.tokenizer.check(texts, tokens, self._rows)
        token_counts = [len(each.ids) for each in tokens]
        # A text without tokens, as byte-level tokenizers give for an empty one, is not run.
        present = [position for position, count in enumerate(token_counts) if count]
        lengths = [token_counts[position] for position in present]
        groups = [
            [present[n] for n in group] for group in batches(lengths, self._batch_size(batch_size))
        ]
        padded = (pad([tokens[i] for i in group], self._pad_token_id) for group in groups)
        run = self._run(_until_cancelled(padded, is_cancelled))
        nothing = bytes(_ITEM * self.dimension) if self._returns == "vectors" else b""
        items: list[bytes | bytearray] = [nothing] * len(texts)
        try:
            for group, rows in zip(groups, run, strict=True):
                batch = [tokens[position] for position in group]
                for position, item in zip(group, self._items(batch, rows), strict=True):
                    items[position] = item
        except Exception as error:
            if not is_of_the_graph(error):
                raise
            reason = f"its graph cannot be run ({described(error)})"
            raise ModelDamaged(self._folder, reason=reason) from error
        width = _SPARSE_ROW if self._returns in _SPARSE else self.dimension
        matrix = Matrix(bytearray().join(items), width)
        if not matrix.is_finite():
            raise ModelDamaged(self._folder, reason="its vectors are not finite")
        if self._returns == "vectors":
            return EngineOutput(matrix, token_counts)
        lengths = [len(item) // (_ITEM * width) for item in items]
        return EngineOutput(matrix, token_counts, lengths=lengths)

    def _batch_size(self, batch_size: int | None) -> int | None:
        """Return the maximal texts of a batch; vocabularies of weights take much memory."""
        if self._returns != "sparse":
            return batch_size
        most = max(1, _MOST_WEIGHTS // self.dimension)
        return min(batch_size or most, most)

    def _items(self, batch: Sequence[Tokens], rows: bytes | bytearray) -> list[bytes | bytearray]:
        """Return the bytes of each text of `batch`; `rows` is what the graph returns for it."""
        width = _ITEM * (1 if self._returns == "token_weights" else self.dimension)
        of_tokens = self._returns in {"token_weights", "token_vectors"}
        size = width * (_width(batch) if of_tokens else 1)
        if len(rows) != len(batch) * size:
            raise ValueError(f"{len(rows)} bytes for {len(batch)} texts of {size}")
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        return [
            _ITEMS[self._returns](tokens, part, width)
            for tokens, part in zip(batch, parts, strict=True)
        ]

    def coverage(self, text: str) -> Coverage:
        """Return how the tokenizer reads `text`."""
        return self.tokenizer.coverage(text)

    def count(self, texts: Sequence[TextOrPair]) -> list[int]:
        """Return the token count of each text, special tokens included."""
        return [len(each.ids) for each in self.tokenizer.tokens(texts)] if texts else []

    def metrics(self) -> tuple[Metric, ...]:
        """Return no metrics."""
        return ()

    def close(self) -> None:
        """Release the graph, its weights and its working memory."""
        self._run = None


_ITEM = 4  # bytes of a float32
_SPARSE_ROW = 2  # numbers: an index and its value; every index is exact in a float32
_SPARSE = ("sparse", "token_weights")
_MOST_WEIGHTS = 1 << 22  # 16 MB


def _whole(tokens: Tokens, part: bytes | bytearray, width: int) -> bytes | bytearray:
    return part


def _active(tokens: Tokens, part: bytes | bytearray, width: int) -> bytes:
    """Return the positive weights of a vocabulary, each after its index."""
    import numpy as np

    weights = np.frombuffer(part, np.float32)
    (indices,) = weights.nonzero()
    return np.stack([indices.astype(np.float32), weights[indices]], axis=-1).tobytes()


def _heaviest(tokens: Tokens, part: bytes | bytearray, width: int) -> bytes:
    """Return the largest weight of each token that a text has, after its id, by id; no zero."""
    weights = array("f", bytes(part))
    found: dict[int, float] = {}
    for position in range(len(tokens.ids)) if tokens.kept is None else tokens.kept:
        number = tokens.ids[position]
        found[number] = max(found.get(number, weights[position]), weights[position])
    return array("f", [n for item in sorted(found.items()) if item[1] for n in item]).tobytes()


def _kept(tokens: Tokens, part: bytes | bytearray, width: int) -> bytes | bytearray:
    """Return the vectors of the tokens that are kept."""
    if tokens.kept is None:
        return part[: len(tokens.ids) * width]
    return b"".join(part[place * width : (place + 1) * width] for place in tokens.kept)


_ITEMS: dict[Returns, Callable[[Tokens, bytes | bytearray, int], bytes | bytearray]] = {
    "vectors": _whole,
    "sparse": _active,
    "token_weights": _heaviest,
    "token_vectors": _kept,
}
"""Functions from what a graph returns for a text to the bytes of its rows."""


def is_of_the_graph(error: Exception) -> bool:
    """Return whether a graph raised `error`; memory may be short for a good graph too.

    The classes of ONNX Runtime's package have no base class of their own. OpenVINO raises
    RuntimeError, this module ValueError where rows have another length.
    """
    is_runtimes = isinstance(error, RuntimeFault) or type(error).__module__.startswith(
        "onnxruntime."
    )
    is_engines = is_runtimes or type(error) in {RuntimeError, ValueError}
    return is_engines and "alloc" not in str(error)


def _until_cancelled(
    batches: Iterable[Batch], is_cancelled: Callable[[], bool] | None
) -> Iterator[Batch]:
    """Yield `batches`; before each one, stop if the vectors are not awaited or the process ends."""
    for batch in batches:
        active_work.check()
        if is_cancelled is not None and is_cancelled():
            from concurrent.futures import CancelledError  # blocking calls cannot be cancelled

            raise CancelledError
        yield batch


class _Opener(threading.Thread):
    """Calls `open_run` in a thread; `result` waits for it and raises its error."""

    def __init__(self, open_run: Callable[[], Run]) -> None:
        super().__init__(name="hotstart-opening", daemon=True)
        self._open_run = open_run
        self._run_graph: Run | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._run_graph = self._open_run()
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            self._error = error

    def result(self) -> Run | None:
        self.join()
        if self._error is not None:
            raise self._error
        return self._run_graph


_TYPECODES = {"int32": "i", "int64": "q"}


def feed(inputs: Mapping[str, str], batch: Batch) -> dict[str, OrtValue]:
    """Return the values of the graph's `inputs` (name to element type) for one batch."""
    values: dict[str, Iterable[int]] = {
        "input_ids": batch.ids,
        "attention_mask": batch.mask,
        "token_type_ids": batch.segments,
        "pooling_mask": batch.pooled,
    }
    if "position_ids" in inputs:
        count, width = batch.shape
        values["position_ids"] = [*range(width)] * count
    return {
        name: OrtValue(array(_TYPECODES[kind], values[name]), batch.shape, kind)
        for name, kind in inputs.items()
    }
