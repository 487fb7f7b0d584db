"""One call of `encode`: its checked arguments, the texts to run, and the form of the result."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from hotstart.errors import InvalidInput, InvalidText, check_count
from hotstart.types import EmbedOutput, Matrix, ModelInfo, Precision, TaskText

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import TypedDict

    class EncodeOptions(TypedDict, total=False):
        """The keyword options of `Embedder.encode`, for methods that pass them on."""

        prompt_name: str | None
        prompt: str | None
        batch_size: int | None
        show_progress_bar: bool | None
        precision: Precision
        convert_to_numpy: bool | None
        normalize_embeddings: bool
        truncate_dim: int | None
        task: str | None


class TextFault(NamedTuple):
    """Why an input is not a text, and the remedy."""

    reason: str
    remedy: str


def check_texts(inputs: Sequence[str], first: int = 0) -> Sequence[str]:
    """Return `inputs`, an array as a list.

    Raises:
        InvalidText: an input, counted from `first`, is not a text.
        InvalidInput: `inputs` is neither a sequence nor an array.
    """
    if not isinstance(inputs, (list, tuple)):
        is_other = isinstance(inputs, (bytes, bytearray, dict)) or not hasattr(
            inputs, "__getitem__"
        )
        if is_other or getattr(inputs, "ndim", 1) != 1:
            expected = "a string, or a list of strings"
            if hasattr(inputs, "__next__"):
                expected += " (list(...) makes one of an iterator, encode_stream takes it)"
            raise InvalidInput("inputs", got=inputs, expected=expected)
        inputs = list(inputs)
    for position, text in enumerate(inputs, first):
        fault = _fault(text)
        if fault is not None:
            raise InvalidText(position, reason=fault.reason, remedy=fault.remedy)
    return inputs


def check_pairs(inputs: Sequence[Any]) -> list[tuple[str, str]]:
    """Return `inputs` as pairs of texts; raise InvalidText for the first that is not a pair."""
    pairs = []
    for position, pair in enumerate(inputs):
        if isinstance(pair, (str, bytes)) or not hasattr(pair, "__len__") or len(pair) != 2:
            reason = f"it is {_shortly(pair)}, not two texts"
            raise InvalidText(position, reason=reason, remedy="Pass pairs of strings")
        left, right = pair
        for name, text in (("first", left), ("second", right)):
            fault = _fault(text)
            if fault is not None:
                reason = f"of its {name} text, {fault.reason}"
                raise InvalidText(position, reason=reason, remedy=fault.remedy)
        pairs.append((left, right))
    return pairs


def _fault(text: object) -> TextFault | None:
    """Return why `text` cannot be embedded; None if it can."""
    if not isinstance(text, str):
        return TextFault(f"it is {type(text).__name__}, not str", "Pass strings")
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return TextFault(
            f"character {error.start} is a lone surrogate, which is no Unicode text",
            "Decode the text again, or encode it with errors='replace'",
        )
    return None


def _shortly(value: object) -> str:
    length = f" of {len(value)}" if isinstance(value, (list, tuple)) else ""
    return f"{type(value).__name__}{length}"


PRECISIONS: tuple[str, ...] = get_args(Precision)
_CALIBRATED = {"int8", "uint8"}


class OutputFormat(NamedTuple):
    """The form of the result: precision, normalisation, dimensions."""

    precision: Precision = "float32"
    normalize: bool = False
    truncate_dim: int | None = None

    def check(self, dimension: int, texts: int) -> None:
        """Raise InvalidInput if `texts` vectors of `dimension` cannot have this format."""
        cut = self.truncate_dim
        if self.precision not in PRECISIONS:
            raise InvalidInput(
                "precision", got=self.precision, expected=f"one of {', '.join(PRECISIONS)}"
            )
        if cut is not None and not (isinstance(cut, int) and 1 <= cut <= dimension):
            expected = f"an integer from 1 to {dimension}, or None"
            raise InvalidInput("truncate_dim", got=cut, expected=expected)
        if self.precision in _CALIBRATED and texts == 1:
            raise InvalidInput(
                "inputs",
                got=texts,
                expected=f"at least two texts for precision {self.precision}",
            )

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Return `vectors` (n, d) in this format."""
        vectors = vectors[:, : self.truncate_dim]
        if self.normalize:
            vectors = normalize(vectors)
        return quantize(vectors, self.precision)

    def lists(self, vectors: Matrix) -> list[list[float]]:
        """Return `vectors` in this format as lists of numbers; float32 needs no NumPy."""
        if self.precision != "float32":
            numbers: list[list[float]] = self.apply(vectors.array()).tolist()
            return numbers
        rows = vectors.tolist()
        if self.truncate_dim is not None:
            rows = [row[: self.truncate_dim] for row in rows]
        return [normalized(row) for row in rows] if self.normalize else rows

    def matrix(self, vectors: Matrix) -> Matrix:
        """Return `vectors` in this format as a Matrix, whose precision is float32.

        Raises:
            InvalidInput: another precision is wanted.
        """
        if self.precision != "float32":
            expected = "float32 where convert_to_numpy is None"
            raise InvalidInput("precision", got=self.precision, expected=expected)
        if self.truncate_dim is None and not self.normalize:
            return vectors
        return Matrix.of_rows(array("f", row).tobytes() for row in self.lists(vectors))


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `vectors` scaled to length 1 each; a zero vector stays zero."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return scaled


def normalized(row: Sequence[float]) -> list[float]:
    """Return `row` scaled to length 1, in float32; zeros stay zeros."""
    length = max(math.sqrt(sum(value * value for value in row)), 1e-12)
    return array("f", [value / length for value in row]).tolist()


def quantize(vectors: NDArray[np.float32], precision: Precision) -> NDArray[Any]:
    """Return `vectors` (n, d) at `precision`.

    - `int8`, `uint8`: (n, d), each dimension's range over these n vectors cut into 255 steps.
      Vectors of different calls are therefore not comparable.
    - `binary`, `ubinary`: (n, ceil(d / 8)) int8 or uint8, one bit a dimension, set where positive.
    """
    import numpy as np

    if precision == "float32":
        return vectors
    if precision in {"binary", "ubinary"}:
        bits = np.packbits(vectors > 0, axis=-1)
        return bits if precision == "ubinary" else (bits - 128).astype(np.int8)
    if not len(vectors):
        return vectors.astype(precision)
    low = vectors.min(axis=0)
    steps = (vectors.max(axis=0) - low) / 255
    levels = np.clip(np.floor((vectors - low) / np.where(steps == 0, 1, steps)), 0, 255)
    quantized: NDArray[Any] = levels if precision == "uint8" else levels - 128
    return quantized.astype(precision)


def cosine_similarity(left: Any, right: Any) -> NDArray[np.float32]:
    """Return the cosine of each row of `left` with each row of `right`, float32 (n, m).

    A zero vector has the cosine 0 with every vector.
    """
    import numpy as np

    rows = [np.atleast_2d(np.asarray(each, dtype=np.float32)) for each in (left, right)]
    units = [each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in rows]
    cosines: NDArray[np.float32] = units[0] @ units[1].T
    return cosines


_ROLES = ("query", "document")
"""The tasks, and prompt names of every model; the prompt is empty if the model sets none."""


class EncodeRequest:
    """The checked arguments of `Embedder.encode`.

    Attributes:
        inputs: the texts to embed.
        batch_size: maximal number of texts in a batch; None for the token budget.
        show_progress_bar: whether to draw a bar on the terminal.
        runs_alone: whether the texts must not share a batch with other calls.
        task: `query`, `document`, or empty. It chooses the prompt unless the call names one.

    Raises:
        InvalidInput: an argument cannot be used; InvalidText for a text, with its position.
    """

    def __init__(
        self,
        inputs: str | Sequence[str],
        *,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = False,
        precision: Precision = "float32",
        convert_to_numpy: bool | None = True,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        task: str | None = None,
    ) -> None:
        if batch_size is not None:  # spares the usual call a step
            check_count("batch_size", batch_size, optional=True)
        if prompt is not None and not isinstance(prompt, str):
            raise InvalidInput("prompt", got=prompt, expected="a string or None")
        self._is_single = isinstance(inputs, str)
        self.inputs = check_texts([inputs] if isinstance(inputs, str) else inputs)
        self.batch_size = batch_size
        self.show_progress_bar = bool(show_progress_bar)
        self.runs_alone = bool(batch_size) or self.show_progress_bar or len(self.inputs) == 0
        if task and task not in _ROLES:
            raise InvalidInput("task", got=task, expected="query, document, or None")
        self.task = task or ""
        self._prompt_name = prompt_name
        self._prompt = prompt
        self._convert_to_numpy = convert_to_numpy
        self._output = OutputFormat(precision, normalize_embeddings, truncate_dim)

    def check(self, info: ModelInfo) -> None:
        """Raise InvalidInput if the model of `info` cannot give the requested output."""
        if info.tasks is not None and self.task not in info.tasks:
            known = " or ".join(task or "None" for task in info.tasks)
            expected = f"{known}: the Router of the model has no encoder for other texts"
            raise InvalidInput("task", got=self.task or None, expected=expected)
        if info.dimension is not None:
            self._format(info).check(info.dimension, len(self.inputs))

    def model_inputs(self, info: ModelInfo) -> list[str]:
        """Return the texts with the model's prompt before each. Raises InvalidInput."""
        self.check(info)
        prompt = self.prompt(info)
        if info.reads_task:
            return [TaskText(text, prompt, self.task) for text in self.inputs]
        return [prompt + text for text in self.inputs]

    def part(self, texts: Sequence[str], prompt: str) -> EncodeRequest:
        """Return a request for the plain vectors of `texts` with `prompt`."""
        request = EncodeRequest(
            texts,
            prompt=prompt,
            batch_size=self.batch_size,
            show_progress_bar=self.show_progress_bar,
            task=self.task,
        )
        request.runs_alone = self.runs_alone
        return request

    def role(self, info: ModelInfo) -> str:
        """Return what the texts are for: the task, for a model that reads it.

        Otherwise the name of the prompt in use; empty if the model has no such prompt.
        """
        if info.reads_task and self.task:
            return self.task
        name = self._used(info)
        return name if self._prompt is None and info.prompts.get(name) else ""

    def prompt(self, info: ModelInfo) -> str:
        """Return the text to put before each text. Raises InvalidInput."""
        name = self._prompt_name
        if self._prompt is not None:
            return self._prompt
        if name is None:
            return info.prompts.get(self._used(info), "")
        if name not in info.prompts and name not in _ROLES:
            known = ", ".join(dict.fromkeys([*info.prompts, *_ROLES]))
            raise InvalidInput("prompt_name", got=name, expected=f"one of {known}")
        return info.prompts.get(name, "")

    def _used(self, info: ModelInfo) -> str:
        """Return the name of the prompt in use; empty for none."""
        if self._prompt_name is not None or not self.task:
            return self._prompt_name or info.default_prompt_name or ""
        return self.task

    def result(self, output: EmbedOutput) -> Any:
        """Return what the call returns for the vectors of `output`."""
        output_format = self._format(output.info)
        if output.info.dimension is None:  # otherwise `check` ran before the texts
            output_format.check(output.vectors.dimension, len(self.inputs))
        if self._convert_to_numpy is None:
            return output_format.matrix(output.vectors)
        vectors = (
            output_format.apply(output.vectors.array())
            if self._convert_to_numpy
            else output_format.lists(output.vectors)
        )
        return vectors[0] if self._is_single else vectors

    def _format(self, info: ModelInfo) -> OutputFormat:
        if self._output.truncate_dim is not None or info.truncate_dim is None:
            return self._output
        return self._output._replace(truncate_dim=info.truncate_dim)
