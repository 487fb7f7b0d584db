"""Value objects that several packages share."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from hotstart.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

State = Literal["unloaded", "loading", "ready", "unloading", "failed"]
Mode = Literal["hybrid", "lexical", "semantic"]
Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]

Stage = Literal["fast_start", "full", "throughput"]
"""How far a model is loaded: able to answer at full fidelity; at full speed; fastest in bulk."""


TOKENIZER = "tokenizer.json"
WORDPIECE = "wordpiece.txt"
"""Files of a prepared model."""


class LoadingStrategy(str, Enum):
    """The names of the loading strategies."""

    LAZY = "lazy"
    BACKGROUND = "background"
    PROGRESSIVE = "progressive"
    QUANTIZED = "quantized"
    CACHED = "cached"
    EAGER = "eager"
    AUTO = "auto"


class LoadProgress(NamedTuple):
    """The progress of a load: `fraction` from 0 to 1, `eta` in seconds; None if unknown."""

    stage: str
    fraction: float | None
    eta: float | None


Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0 to 1."""


class TaskText(str):
    """A text, its prompt included, for a model that reads the prompt or the task.

    Attributes:
        prompt: what was put before the text.
        task: `query`, `document`, or empty.
    """

    __slots__ = ("prompt", "task")
    prompt: str
    task: str

    def __new__(cls, text: str, prompt: str = "", task: str = "") -> TaskText:
        """Return `prompt` and `text` as one string."""
        made = super().__new__(cls, prompt + text)
        made.prompt = prompt
        made.task = task
        return made


class QueryExpansion(NamedTuple):
    """How a query is filled up to `length` tokens (Khattab and Zaharia 2020).

    Attributes:
        length: the tokens of a query with fewer.
        token: what it is filled with.
        is_fixed: whether longer queries are cut at `length`.
        is_attended: whether other tokens attend to what was filled in.
    """

    length: int
    token: str
    is_fixed: bool
    is_attended: bool


class ChatTemplate(NamedTuple):
    """A chat template: fixed texts, and where the inputs stand among them.

    A number in a list is the place of an input: of the text, or of query and document.

    Attributes:
        plain: the fixed texts and places without a prompt.
        prompted: the same with a prompt, which is the first input; None if there can be none.
    """

    plain: tuple[str | int, ...]
    prompted: tuple[str | int, ...] | None = None

    def render(self, text: TextOrPair) -> str:
        """Return `text` within the fixed texts.

        Raises:
            InvalidInput: it has a prompt, and the template no place for one.
        """
        inputs: tuple[str, ...] = (text,) if isinstance(text, str) else text
        pieces = self.plain
        if isinstance(text, TaskText) and text.prompt:
            if self.prompted is None:
                expected = "none: the chat template of the model has no place for it"
                raise InvalidInput("prompt", got=text.prompt, expected=expected)
            inputs = (text.prompt, text[len(text.prompt) :])
            pieces = self.prompted
        return "".join(piece if isinstance(piece, str) else inputs[piece] for piece in pieces)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> ChatTemplate:
        """Return the template of `content`, written as `json.dumps` writes it."""
        prompted = content["prompted"]
        return cls(tuple(content["plain"]), prompted and tuple(prompted))


class TokenSettings(NamedTuple):
    """The tokens of a text that are read, and those that have a vector or a weight.

    Attributes:
        length: maximal tokens of a text without a task, special tokens included; None for the
            limit of the tokenizer.
        query_length: maximal tokens of a query.
        document_length: maximal tokens of a document.
        expansion: how queries are filled up; None where they are not.
        skiplist: tokens without a vector or weight.
        skiplist_tasks: the tasks of texts that the skiplist is for.
        skipped: leading tokens without a vector.
        template: what a text or a pair is written into; None where it is read as it is.
    """

    length: int | None = None
    query_length: int | None = None
    document_length: int | None = None
    expansion: QueryExpansion | None = None
    skiplist: tuple[str, ...] = ()
    skiplist_tasks: tuple[str, ...] = ("document",)
    skipped: int = 0
    template: ChatTemplate | None = None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TokenSettings:
        """Return the settings of `content`, written as `json.dumps` writes them."""
        expansion = content["expansion"]
        template = content.get("template")
        return cls(
            **content
            | {
                "expansion": expansion and QueryExpansion(**expansion),
                "skiplist": tuple(content["skiplist"]),
                "skiplist_tasks": tuple(content["skiplist_tasks"]),
                "template": template and ChatTemplate.from_json(template),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return self._asdict() | {
            "expansion": self.expansion and self.expansion._asdict(),
            "template": self.template and self.template._asdict(),
        }


Returns = Literal["vectors", "sparse", "token_weights", "token_vectors"]
KIND_OF: dict[Returns, str] = {
    "vectors": "embedding",
    "sparse": "sparse",
    "token_weights": "sparse",
    "token_vectors": "multi_vector",
}
"""The kind of a model, a key of `hotstart.models.spec.KINDS`, by what it returns for a text."""

"""What a graph returns for each text: a vector, a weight for each token of the vocabulary, or a
weight or a vector for each of its tokens."""


TextOrPair = str | tuple[str, str]
"""One input of a model: a text, or a pair of texts for a reranker."""


class Classifier(NamedTuple):
    """The outputs of a reranker.

    Attributes:
        labels: the name of each output.
        activation: function from outputs to scores, a key of `hotstart.scoring.ACTIVATIONS`.
    """

    labels: tuple[str, ...]
    activation: str


class ModelInfo(NamedTuple):
    """Facts of a model: all of them once it is prepared or loaded, some before.

    Attributes:
        dimension: length of the engine's vectors; for a reranker, its number of labels; None until
            the first response of a remote server.
        truncate_dim: number of leading dimensions that the model keeps; None for all.
        prompts: text put before an input, by prompt name.
        default_prompt_name: the prompt in use if the caller names none.
        fingerprint: identity of the vector space; empty before the model is prepared.
        classifier: labels and activation of a reranker.
        max_seq_length: tokens kept of a text, special tokens included; None for no limit.
        comparable_with: fingerprint of the float32 space that search may compare these vectors
            with; None if there is none. No cache stores vectors under that name.
        reads_task: whether the vector depends on what is the prompt of a text, or on its task.
        max_active_dims: the largest values that a sparse embedding keeps; None for all.
        tasks: the tasks that a model with a Router has encoders for, empty for texts without one;
            None for a model that encodes all texts alike.
        similarity_scale: see `EmbeddingResult`.
    """

    dimension: int | None
    truncate_dim: int | None
    prompts: dict[str, str]
    default_prompt_name: str | None
    fingerprint: str
    classifier: Classifier | None = None
    max_seq_length: int | None = None
    comparable_with: str | None = None
    reads_task: bool = False
    max_active_dims: int | None = None
    tasks: tuple[str, ...] | None = None
    similarity_scale: float | None = None


_ITEM = 4  # bytes of a float32


class Matrix:
    """Rows of float32 numbers in one buffer, in the byte order of the machine.

    `numpy.asarray` takes a Matrix too.

    Args:
        data: the numbers, row after row.
        dimension: the length of a row.

    Attributes:
        data: the bytes of all rows.
        dimension: the length of a row.
    """

    __slots__ = ("data", "dimension")

    def __init__(self, data: bytes | bytearray | memoryview, dimension: int) -> None:
        self.data = data
        self.dimension = dimension

    @classmethod
    def of(cls, rows: NDArray[Any]) -> Matrix:
        """Return a copy of an array (n, dimension) as float32."""
        return cls(bytearray(rows.astype("=f4").tobytes()), rows.shape[1])

    @classmethod
    def joined(cls, parts: Sequence[Matrix]) -> Matrix:
        """Return the rows of `parts`, at least one, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(bytearray().join(part.data for part in parts), parts[0].dimension)

    @classmethod
    def of_rows(cls, rows: Iterable[bytes]) -> Matrix:
        """Return a matrix of `rows`, the bytes of one or more vectors of one length."""
        data = bytearray()
        length = 0
        for row in rows:
            data += row
            length = len(row)
        return cls(data, length // _ITEM)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and the length of a row."""
        return len(self), self.dimension

    def __len__(self) -> int:
        return len(self.data) // (_ITEM * self.dimension) if self.dimension else 0

    def slice(self, start: int, stop: int) -> Matrix:
        """Return a copy of the rows from `start` to before `stop`."""
        size = _ITEM * self.dimension
        return Matrix(bytearray(self.data[start * size : stop * size]), self.dimension)

    def rows(self) -> list[bytes]:
        """Return the bytes of each row."""
        size = _ITEM * self.dimension
        return [bytes(self.data[at : at + size]) for at in range(0, len(self.data), size)]

    def tolist(self) -> list[list[float]]:
        """Return each row as a list of floats."""
        floats: list[float] = array("f", bytes(self.data)).tolist()
        size = self.dimension
        return [floats[at : at + size] for at in range(0, len(floats), size)]

    def is_finite(self) -> bool:
        """Return whether no number is infinite or not a number."""
        return math.isfinite(sum(memoryview(self.data).cast("f")))  # in double: no overflow

    def array(self) -> NDArray[np.float32]:
        """Return the rows as a writable NumPy array."""
        import numpy as np

        data = self.data
        if isinstance(data, bytes) or (isinstance(data, memoryview) and data.readonly):
            data = bytearray(data)
        return np.frombuffer(data, np.float32).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows: NDArray[Any] = self.array()
        return rows if dtype is None else rows.astype(dtype)


def little_endian(floats: bytes) -> bytes:
    """Return `floats` in the other byte order on a big-endian machine; its own inverse."""
    if sys.byteorder == "little":
        return bytes(floats)
    swapped = array("f", floats)
    swapped.byteswap()
    return swapped.tobytes()


class EngineOutput(NamedTuple):
    """What an engine returns for n texts.

    Attributes:
        vectors: float32 (n, dimension), in the order of the texts.
        token_counts: tokens of each text, special tokens included; None if the engine does not
            know them.
        fingerprint: the identity of the vector space as a remote server states it; None if the
            space is that of the loaded model.
        lengths: the rows of each text, for a model that gives several: one for each token
            (multi-vector), or an index and its value (sparse).
    """

    vectors: Matrix
    token_counts: Sequence[int] | None
    fingerprint: str | None = None
    lengths: Sequence[int] | None = None

    def part(self, texts: slice, info: ModelInfo) -> EmbedOutput:
        """Return the output of some texts, computed by the model of `info`."""
        counts = self.token_counts
        tokens = None if counts is None else sum(counts[texts])
        if self.lengths is None:
            return EmbedOutput(self.vectors.slice(texts.start, texts.stop), info, tokens)
        begin = sum(self.lengths[: texts.start])
        lengths = self.lengths[texts]
        rows = self.vectors.slice(begin, begin + sum(lengths))
        return EmbedOutput(rows, info, tokens, lengths)


class EmbedOutput(NamedTuple):
    """What a model returns for n texts.

    Attributes:
        vectors: float32 (n, dimension), in the order of the texts.
        info: the model that computed them.
        tokens: tokens of all texts; None if the engine does not know them.
        lengths: the rows of each text; None for one.
    """

    vectors: Matrix
    info: ModelInfo
    tokens: int | None = None
    lengths: Sequence[int] | None = None

    @property
    def texts(self) -> int:
        """The number of texts."""
        return len(self.vectors) if self.lengths is None else len(self.lengths)

    @classmethod
    def of(cls, output: EngineOutput, info: ModelInfo) -> EmbedOutput:
        """Return `output`, computed by the model of `info`, or the one that a server states."""
        counts = output.token_counts
        if output.fingerprint is not None and output.fingerprint != info.fingerprint:
            info = info._replace(fingerprint=output.fingerprint)
        tokens = None if counts is None else sum(counts)
        return cls(output.vectors, info, tokens, output.lengths)

    @classmethod
    def joined(cls, parts: Sequence[EmbedOutput]) -> EmbedOutput:
        """Concatenate the outputs of one model, at least one, in order."""
        if len(parts) == 1:
            return parts[0]
        counts = [part.tokens for part in parts if part.tokens is not None]
        return cls(
            vectors=Matrix.joined([part.vectors for part in parts]),
            info=parts[0].info,
            tokens=sum(counts) if len(counts) == len(parts) else None,
            lengths=None
            if parts[0].lengths is None
            else [length for part in parts for length in part.lengths or ()],
        )


class ModelRequest(Protocol):
    """One call of a model: its inputs and options."""

    @property
    def inputs(self) -> Sequence[TextOrPair]:
        """The texts or pairs, as the caller passed them."""

    @property
    def batch_size(self) -> int | None:
        """The maximal number of inputs in a batch; None for the token budget."""

    @property
    def runs_alone(self) -> bool:
        """Whether the inputs must not share a batch with other calls."""

    def model_inputs(self, info: ModelInfo) -> Sequence[TextOrPair]:
        """Return the inputs as the model of `info` reads them. Raises InvalidInput."""


class EmbeddingResult(NamedTuple):
    """Vectors with their provenance.

    Attributes:
        vectors: what `encode` returns.
        model: the name of the model that computed the vectors.
        engine: the engine that runs the model; None if nothing was computed.
        fingerprint: the identity of the vector space. Compare vectors of one fingerprint only.
        reason: why the fallback answered; None if the model answered.
        tokens: tokens of the texts; None if the engine does not know them, or the vectors were
            cached.
        comparable_with: fingerprint of the float32 space that search may compare these vectors
            with; None if there is none.
        similarity_scale: what differences of cosines are multiplied with to be as large as those of
            all-MiniLM-L6-v2; None if it was not measured.
    """

    vectors: Any
    model: str
    engine: str | None
    fingerprint: str
    reason: str | None
    tokens: int | None = None
    comparable_with: str | None = None
    similarity_scale: float | None = None


class Coverage(NamedTuple):
    """How a tokenizer reads a text.

    Attributes:
        tokens: the tokens with letters or digits.
        unknown: the letters that no token stands for.
    """

    tokens: int
    unknown: int


class GraphFiles(NamedTuple):
    """The ONNX files of an artifact.

    Attributes:
        encoder: the file whose inputs are token ids.
        output: name of the encoder's output.
        optimized: whether the file is optimised, so that loading need not optimise it.
        head: a second file, from token embeddings and mask to vectors; None if not needed.
        block: number of 8-bit weights that share a scale; None for float32.
        returns: what the graph returns for each text.
        rows: the number of tokens that have an embedding, if the tokenizer gives more; else None.
    """

    encoder: str
    output: str
    optimized: bool
    head: str | None
    block: int | None = None
    returns: Returns = "vectors"
    rows: int | None = None


class PreparedRoute(NamedTuple):
    """The part of an artifact that reads the texts of some tasks; see `PreparedModel`.

    Attributes:
        tasks: the tasks, empty for texts without one.
        tokenizer: the file of the tokenizer.
    """

    tasks: tuple[str, ...]
    graphs: GraphFiles
    tokenizer: str
    pad_token_id: int
    tokens: TokenSettings | None = None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PreparedRoute:
        """Return the route of `content`, written as `json.dumps` writes it."""
        tokens = content["tokens"]
        return cls(
            **content
            | {
                "tasks": tuple(content["tasks"]),
                "graphs": GraphFiles(**content["graphs"]),
                "tokens": tokens and TokenSettings.from_json(tokens),
            }
        )

    def as_json(self) -> dict[str, Any]:
        """Return the route as JSON values."""
        return self._asdict() | {
            "graphs": self.graphs._asdict(),
            "tokens": self.tokens and self.tokens.as_json(),
        }


class PreparedModel(NamedTuple):
    """The part of an artifact that an engine reads.

    Attributes:
        folder: the artifact's folder; file names are relative to it.
        dimension: length of a vector.
        pad_token_id: the token that pads the shorter texts of a batch.
        precision: a precision of `hotstart.models.spec.KINDS`.
        tokens: the tokens that are read and returned; None for all.
        tokenizer: the file of the tokenizer.
        routes: what reads the texts of other tasks, of a model with a Router.
    """

    folder: str
    graphs: GraphFiles
    dimension: int
    pad_token_id: int
    precision: str = "float32"
    tokens: TokenSettings | None = None
    tokenizer: str = TOKENIZER
    routes: tuple[PreparedRoute, ...] = ()

    def parts(self) -> list[PreparedModel]:
        """Return what reads the texts of each route, the model's own first."""
        parts = [self._replace(routes=())]
        for route in self.routes:
            values = {name: value for name, value in route._asdict().items() if name != "tasks"}
            parts.append(parts[0]._replace(**values))
        return parts
