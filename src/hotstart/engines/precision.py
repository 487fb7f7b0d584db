"""What is made of float32 vectors before they are handed out: cut, normalised, quantised.

The order and the formulas are those of sentence-transformers' `encode` and `quantize_embeddings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from hotstart.errors import InvalidInput
from hotstart.types import Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS: tuple[str, ...] = get_args(Precision)
_CALIBRATED = {"int8", "uint8"}


class OutputFormat(NamedTuple):
    """What becomes of an engine's vectors: cut to `truncate_dim`, normalised, then quantised."""

    precision: Precision = "float32"
    normalize: bool = False
    truncate_dim: int | None = None

    def check(self, dimension: int, texts: int) -> None:
        """Raise InvalidInput where `texts` vectors of `dimension` cannot take this format."""
        cut = self.truncate_dim
        if self.precision not in PRECISIONS:
            raise InvalidInput(
                "precision", got=self.precision, expected=f"one of {', '.join(PRECISIONS)}"
            )
        if cut is not None and not 1 <= cut <= dimension:
            raise InvalidInput("truncate_dim", got=cut, expected=f"a number from 1 to {dimension}")
        if self.precision in _CALIBRATED and texts == 1:
            raise InvalidInput(
                "precision",
                got=self.precision,
                expected="two texts or more: it divides their range",
            )

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[Any]:
        """Return `vectors` (n, d) in this format."""
        vectors = vectors[:, : self.truncate_dim]
        if self.normalize:
            vectors = normalize(vectors)
        return quantize(vectors, self.precision)


def normalize(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `vectors` scaled to length 1 each; a zero vector stays zero."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, 1e-12)
    return scaled


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
