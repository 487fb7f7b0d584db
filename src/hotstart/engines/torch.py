"""The torch engine: sentence-transformers, for CUDA, MPS and other architectures."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart._lazy import require
from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.files import constructing
from hotstart.scoring import ACTIVATIONS
from hotstart.types import Classifier, EngineOutput, Matrix, TaskText, TextOrPair

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hotstart.telemetry import Metric

_BATCH_SIZE = 32  # the default of sentence-transformers


class TorchEngine:
    """Runs a model folder with sentence-transformers.

    The weights are converted to float32. Calls are serialized, because a tokenizer of transformers
    fails if two threads use it.

    Args:
        folder: a model folder of sentence-transformers; nothing is downloaded.
        device: a torch device (`cpu`, `cuda`, `cuda:1`, `mps`); None for the best available.
        trust_remote_code: whether to run Python code of the folder. Only a program that trusts the
            folder may set it, never a request or a file.
        kind: `embedding` for a SentenceTransformer, `reranker` for a CrossEncoder.
        max_length: tokens kept of a text; None for the model's own limit.

    Attributes:
        max_seq_length: tokens kept of a text, special tokens included; None for no limit.
        classifier: the outputs of a reranker; None for an embedding model.
        prompts: texts to put before an input, by prompt name.
        default_prompt_name: the prompt that the model puts before an input by default.
    """

    name = "torch"

    def __init__(
        self,
        folder: str,
        device: str | None = None,
        trust_remote_code: bool = False,
        kind: str = "embedding",
        max_length: int | None = None,
    ) -> None:
        ranks = kind == "reranker"
        with constructing:
            self._torch = require("torch", extra="torch")
            library = require("sentence_transformers", extra="torch")
            model = (library.CrossEncoder if ranks else library.SentenceTransformer)(
                folder,
                device=device,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": self._torch.float32},
            )
        if max_length is not None:
            model.max_seq_length = max_length
        self._folder = folder
        self._model: Any = model
        self._lock = threading.Lock()
        self.device = str(model.device)
        self.max_seq_length = _limit_of(model)
        # A CrossEncoder adds its prompt itself, where its chat template wants it.
        prompts = {} if ranks else model.prompts
        self.prompts = {name: text for name, text in prompts.items() if text}
        self.default_prompt_name: str | None = None if ranks else model.default_prompt_name
        self.classifier = _classifier_of(model, folder) if ranks else None
        if not ranks:
            model.truncate_dim = None  # the caller truncates vectors and adds prompts
        self.dimension = self._find_dimension()

    def embed(
        self,
        texts: Sequence[TextOrPair],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts.

        Of a reranker these are the logits.
        """
        assert self._model is not None, "embed after close"
        if not texts:
            return EngineOutput(Matrix(b"", self.dimension), [])
        vectors = self._encode(list(texts), batch_size or _BATCH_SIZE)
        if not np.isfinite(vectors).all():
            raise ModelDamaged(self._folder, reason="its vectors are not finite")
        return EngineOutput(Matrix.of(vectors), self.count(texts))

    def count(self, texts: Sequence[TextOrPair]) -> list[int] | None:
        """Return the token count of each text, special tokens included; None if unknown."""
        if not texts:
            return []
        with self._lock:
            mask = self._model.preprocess(list(texts)).get("attention_mask")
        return None if mask is None else [int(row.sum()) for row in mask]

    def metrics(self) -> tuple[Metric, ...]:
        """Return no metrics."""
        return ()

    def close(self) -> None:
        """Free the model's memory, including device memory."""
        self._model = None
        gc.collect()  # torch modules contain reference cycles
        if self.device.startswith("cuda"):
            self._torch.cuda.empty_cache()

    def _find_dimension(self) -> int:
        if self.classifier is not None:
            return len(self.classifier.labels)
        dimension = self._model.get_embedding_dimension()
        return int(self._encode([""], 1).shape[1] if dimension is None else dimension)

    def _encode(self, texts: list[Any], batch_size: int) -> NDArray[np.float32]:
        """Return the vectors of `texts`; those of one prompt and task are encoded together."""
        options: dict[str, Any] = {
            "batch_size": batch_size,
            "show_progress_bar": False,
            "convert_to_numpy": True,
        }
        if self.classifier is not None:
            plain = self._torch.nn.Identity()
            with self._lock:
                logits = self._model.predict(texts, activation_fn=plain, **options)
            return np.asarray(logits, np.float32).reshape(len(texts), -1)
        groups: dict[tuple[str, str], list[int]] = {}
        for position, text in enumerate(texts):
            read = (text.prompt, text.task) if isinstance(text, TaskText) else ("", "")
            groups.setdefault(read, []).append(position)
        parts = []
        for (prompt, task), positions in groups.items():
            bare = [texts[position][len(prompt) :] for position in positions]
            of_task = {"task": task} if task else {}
            with self._lock:  # without a prompt, the texts contain theirs: no default prompt
                found = self._model.encode(bare, prompt=prompt, **of_task, **options)
            parts.append(np.asarray(found, np.float32))
        vectors = np.empty((len(texts), parts[0].shape[1]), np.float32)
        for positions, rows in zip(groups.values(), parts, strict=True):
            vectors[positions] = rows
        return vectors


_LONGEST = 1_000_000  # tokens; transformers writes 10**30 for no limit


def _limit_of(model: Any) -> int | None:
    """Return the tokens that `model` keeps; None for no limit."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and 0 < limit <= _LONGEST else None


def _classifier_of(model: Any, folder: str) -> Classifier:
    """Return the labels and the activation of a CrossEncoder.

    Raises:
        UnsupportedModel: the activation is unknown.
    """
    count = int(model.num_labels)
    names = dict(getattr(model.config, "id2label", None) or {})
    labels = tuple(str(names.get(number, f"LABEL_{number}")) for number in range(count))
    activation = type(model.activation_fn).__name__
    if activation.lower() not in ACTIVATIONS:
        supported = tuple(ACTIVATIONS)
        raise UnsupportedModel(
            folder,
            feature="activation",
            got=activation,
            supported=supported,
            kind="reranker",
            remedy="Run it with sentence-transformers' CrossEncoder",
        )
    return Classifier(labels, activation.lower())


def as_tensor(vectors: Any, device: str | None = None) -> Any:
    """Return `vectors`, an array or a list of arrays, as a torch tensor on `device`.

    Raises:
        MissingExtra: torch is not installed.
    """
    torch = require("torch", extra="torch")
    return torch.from_numpy(np.asarray(vectors)).to(device or "cpu")
