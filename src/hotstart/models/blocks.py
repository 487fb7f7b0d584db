"""Weights in 8 bits: each row cut into blocks, each block with a scale and a zero point of its own.

A number is (level - zero) x scale, with levels and zeros from 0 to 255. That is the form which
ONNX Runtime's MatMulNBits and GatherBlockQuantized read. Zero points cost a byte a block and take
a third off the error of the symmetric form, whose ranges are wider than the weights in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hotstart.errors import ModelDamaged
from hotstart.models.floats import read_floats
from hotstart.safetensors import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVELS = 255
_CHUNK = 1 << 20  # numbers quantised at a time: 4 MB, and a few times that in working memory
_PAGE = 4096
_LINE = 64  # bytes of a cache line


class Blocks(NamedTuple):
    """A matrix in 8 bits: levels (rows, blocks, block), scales and zeros (rows, blocks)."""

    levels: Tensor
    scales: Tensor
    zeros: Tensor


def quantize_rows(
    rows: NDArray[np.float32], block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return levels (n, blocks, block), scales and zeros (n, blocks) of `rows` (n, k).

    A last block that `k` does not fill is filled with zeros. Zero is always among the levels.
    """
    import numpy as np

    missing = -rows.shape[1] % block
    filled = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    cut = filled.reshape(len(rows), -1, block)
    low, high = np.minimum(cut.min(-1), 0), np.maximum(cut.max(-1), 0)
    scales = (high - low) / np.float32(LEVELS)
    scales[scales == 0] = 1
    zeros = np.clip(np.rint(-low / scales), 0, LEVELS)
    levels = np.clip(np.rint(cut / scales[..., None]) + zeros[..., None], 0, LEVELS)
    return levels.astype(np.uint8), scales, zeros.astype(np.uint8)


class BlockFile:
    """Collects tensors in one file at `path`, each put down once, in bounded memory.

    Tensors of a page and more begin at a page, so that mapping one touches no other.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._end = 0
        self._whole: dict[Tensor, Tensor] = {}
        self._blocks: dict[tuple[Tensor, bytes], Blocks] = {}
        self._numbers: dict[bytes, Tensor] = {}
        with open(path, "xb"):
            pass

    def whole(self, tensor: Tensor) -> Tensor:
        """Put `tensor` down as float32."""
        if tensor not in self._whole:
            placed = self._reserve("F32", tensor.shape, 4)
            for first in range(0, placed.length // 4, _CHUNK):
                count = min(_CHUNK, placed.length // 4 - first)
                self._write(placed, first * 4, read_floats(tensor, first, count).tobytes())
            self._whole[tensor] = placed
        return self._whole[tensor]

    def numbers(self, values: NDArray[np.float32]) -> Tensor:
        """Put `values` (n,) down."""
        content = values.tobytes()
        if content not in self._numbers:
            placed = self._reserve("F32", values.shape, 4)
            self._write(placed, 0, content)
            self._numbers[content] = placed
        return self._numbers[content]

    def blocks(
        self, tensor: Tensor, block: int, factors: NDArray[np.float32] | None = None
    ) -> Blocks:
        """Put the matrix `tensor`, each column times its factor, down in 8 bits, in parts.

        Raises:
            ModelDamaged: it holds an infinity or no number at all, which no scale can carry.
        """
        key = tensor, b"" if factors is None else factors.tobytes()
        if key not in self._blocks:
            rows, width = tensor.shape
            count = -(-width // block)
            placed = Blocks(
                self._reserve("U8", (rows, count, block), 1),
                self._reserve("F32", (rows, count), 4),
                self._reserve("U8", (rows, count), 1),
            )
            step = max(1, _CHUNK // width)
            for first in range(0, rows, step):
                numbers = _rows(tensor, first, min(step, rows - first))
                scaled = numbers if factors is None else numbers * factors
                self._write_rows(placed, first, scaled, block)
            self._blocks[key] = placed
        return self._blocks[key]

    def _write_rows(
        self, placed: Blocks, first: int, numbers: NDArray[np.float32], block: int
    ) -> None:
        levels, scales, zeros = quantize_rows(numbers, block)
        for part, content in (
            (placed.levels, levels.tobytes()),
            (placed.scales, scales.tobytes()),
            (placed.zeros, zeros.tobytes()),
        ):
            self._write(part, part.length // part.shape[0] * first, content)

    def _reserve(self, dtype: str, shape: tuple[int, ...], item: int) -> Tensor:
        length = item
        for n in shape:
            length *= n
        alignment = _PAGE if length >= _PAGE else _LINE
        offset = self._end + -self._end % alignment
        self._end = offset + length
        return Tensor(self._path, dtype, shape, offset, length)

    def _write(self, tensor: Tensor, start: int, content: bytes) -> None:
        with open(self._path, "r+b") as file:
            file.seek(tensor.offset + start)
            file.write(content)


def _rows(tensor: Tensor, first: int, count: int) -> NDArray[np.float32]:
    """`count` rows of a matrix; ModelDamaged for one that no scale can carry."""
    import numpy as np

    width = tensor.shape[1]
    numbers = read_floats(tensor, first * width, count * width).reshape(count, width)
    if not np.isfinite(numbers).all():
        raise ModelDamaged(tensor.path, reason="a weight is not a finite number")
    return numbers
