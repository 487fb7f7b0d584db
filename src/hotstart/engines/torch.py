"""The torch engine: sentence-transformers, for CUDA, MPS and other architectures."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hotstart._lazy import require
from hotstart.errors import ModelDamaged
from hotstart.files import constructing
from hotstart.types import EngineOutput, Matrix

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
    """

    name = "torch"

    def __init__(
        self, folder: str, device: str | None = None, trust_remote_code: bool = False
    ) -> None:
        with constructing:
            self._torch = require("torch", extra="torch")
            model = require("sentence_transformers", extra="torch").SentenceTransformer(
                folder,
                device=device,
                local_files_only=True,
                trust_remote_code=trust_remote_code,
                model_kwargs={"dtype": self._torch.float32},
            )
        model.truncate_dim = None  # the caller truncates vectors and adds prompts
        self._folder = folder
        self._model: Any = model
        self._lock = threading.Lock()
        self.device = str(model.device)
        self.dimension = self._find_dimension()

    def embed(
        self,
        texts: Sequence[str],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts."""
        assert self._model is not None, "embed after close"
        if not texts:
            return EngineOutput(Matrix(b"", self.dimension), [])
        vectors = self._encode(list(texts), batch_size or _BATCH_SIZE)
        if not np.isfinite(vectors).all():
            raise ModelDamaged(self._folder, reason="its vectors are not finite")
        return EngineOutput(Matrix.of(vectors), self.count(texts))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the token count of each text, special tokens included."""
        mask = self._model.tokenize(list(texts))["attention_mask"] if texts else []
        return [int(row.sum()) for row in mask]

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
        dimension = self._model.get_embedding_dimension()
        return int(self._encode([""], 1).shape[1] if dimension is None else dimension)

    def _encode(self, texts: list[str], batch_size: int) -> NDArray[np.float32]:
        with self._lock:
            vectors = self._model.encode(
                texts,
                prompt="",  # disable the default prompt: the texts already contain their prompt
                batch_size=batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return np.asarray(vectors, np.float32)


def as_tensor(vectors: Any, device: str | None = None) -> Any:
    """Return `vectors`, an array or a list of arrays, as a torch tensor on `device`.

    Raises:
        MissingExtra: torch is not installed.
    """
    torch = require("torch", extra="torch")
    return torch.from_numpy(np.asarray(vectors)).to(device or "cpu")
