"""Weights of a graph: linked float32, or quantized in blocks.

The encoder uses one of the classes below without knowing which: it passes a tensor and gets the
name of a node. With 8 bits, both factors of a product are rounded, in blocks that share a scale.
Settings measured on all-MiniLM-L6-v2 (2 cores with AVX512-VNNI; smallest and mean cosine of the 288
golden texts to float32; passages of 122 tokens a second on OpenVINO):

| blocks of linear layers             | smallest | mean    | passages/s |
|---|---|---|---|
| float32                             | 1        | 1       | 90         |
| 16, value projections in float32    | 0.9994   | 0.99982 | 106        |
| 32                                  | 0.9982   | 0.99945 | 123        |
| 64                                  | 0.9968   | 0.99907 | 143        |
| 64, value projections in float32    | 0.9985   | 0.99954 | 127        |
| 64, smoothed                        | 0.9990   | 0.99971 | 139        |
| **64, both**                        | 0.9992   | 0.99977 | 138        |
| 128, both                           | 0.9987   | 0.99962 | 142        |

Errors of a value projection add directly to the output. Smoothing shrinks the few outlier inputs
that would otherwise dominate the scale of their block. ONNX Runtime is not faster with 8 bits, but
needs a third of the memory; with `accuracy_level` 0, and at the stage `fast_start`, it widens every
weight at each call.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from hotstart.errors import ModelDamaged
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.safetensors import Tensor, read_floats

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ranges = Mapping[str, NDArray[np.float32]]
    """Of a linear layer's inputs, by its name, the greatest absolute value of each."""

LEVELS = 255
_CHUNK = 1 << 20  # numbers quantized together: 4 MB and a few times that of working memory
_PAGE = 4096
_LINE = 64  # bytes of a cache line


class QuantizedBlocks(NamedTuple):
    """A matrix in 8 bits: levels, scales and zero points."""

    levels: Tensor
    scales: Tensor
    zeros: Tensor


def quantize_rows(
    rows: NDArray[np.float32], block: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
    """Return levels (n, blocks, block), scales and zeros (n, blocks) of `rows` (n, k).

    An incomplete last block is padded with zeros. Zero is always one of the levels.
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
    """Writes quantized tensors into one file at `path`, each once, in bounded memory.

    Tensors of at least a page begin at a page boundary, so that mapping one touches no other.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._end = 0
        self._whole: dict[Tensor, Tensor] = {}
        self._blocks: dict[tuple[Tensor, bytes], QuantizedBlocks] = {}
        self._numbers: dict[bytes, Tensor] = {}
        with open(path, "xb"):
            pass

    def whole(self, tensor: Tensor) -> Tensor:
        """Write `tensor` as float32."""
        if tensor not in self._whole:
            placed = self._reserve("F32", tensor.shape, 4)
            for first in range(0, placed.length // 4, _CHUNK):
                count = min(_CHUNK, placed.length // 4 - first)
                self._write(placed, first * 4, read_floats(tensor, first, count).tobytes())
            self._whole[tensor] = placed
        return self._whole[tensor]

    def numbers(self, values: NDArray[np.float32]) -> Tensor:
        """Write `values` (n,)."""
        content = values.tobytes()
        if content not in self._numbers:
            placed = self._reserve("F32", values.shape, 4)
            self._write(placed, 0, content)
            self._numbers[content] = placed
        return self._numbers[content]

    def blocks(
        self, tensor: Tensor, block: int, factors: NDArray[np.float32] | None = None
    ) -> QuantizedBlocks:
        """Write the matrix `tensor`, each column multiplied by its factor, in 8 bits.

        Raises:
            ModelDamaged: the matrix has an infinity or NaN.
        """
        key = tensor, b"" if factors is None else factors.tobytes()
        if key not in self._blocks:
            rows, width = tensor.shape
            count = -(-width // block)
            placed = QuantizedBlocks(
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
        self, placed: QuantizedBlocks, first: int, numbers: NDArray[np.float32], block: int
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
    """Return `count` rows of a matrix; raise ModelDamaged for infinity or NaN."""
    import numpy as np

    width = tensor.shape[1]
    numbers = read_floats(tensor, first * width, count * width).reshape(count, width)
    if not np.isfinite(numbers).all():
        raise ModelDamaged(tensor.path, reason="a weight is not a finite number")
    return numbers


WEIGHTS = "weights.int8.bin"
LINEAR_BLOCK = 64
TABLE_BLOCK = 32
SCHEME = f"int8, zero points, blocks of {LINEAR_BLOCK} and {TABLE_BLOCK}, values float32, smoothed"
"""What an 8-bit artifact's vectors depend on beside the weights: part of its fingerprint."""

_SMOOTHING = 0.4
_SMALLEST = 1e-3  # minimal range of an input
_INT8_ARITHMETIC = 4  # `accuracy_level` of MatMulNBits


class Weights(Protocol):
    """Adds weights to a graph; each method returns the name of a float32 value.

    Attributes:
        block: see `hotstart.types.Graphs`.
    """

    block: int | None

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""

    def linear(
        self, name: str, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias: torch stores a weight as (out, in).

        `name` is the name of the layer. An `exact` weight is not quantized.
        """

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows `ids` of `table`."""


class LinkedWeights:
    """Float32 weights linked from the files of the artifact."""

    block: int | None = None

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""
        return self._graph.weight(tensor)

    def linear(
        self, name: str, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias."""
        return self._graph.node("Gemm", rows, self.whole(weight), self.whole(bias), transB=1)

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows `ids` of `table`."""
        return self._graph.node("Gather", self.whole(table), ids)


class ObservedWeights(LinkedWeights):
    """Linked weights; the graph also outputs the inputs of each linear layer."""

    def linear(
        self, name: str, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias."""
        if not exact:
            sizes = self._graph.node("Abs", rows)
            greatest = self._graph.node("ReduceMax", sizes, axes=[0], keepdims=0)
            self._graph.show(name, greatest, weight.shape[1])
        return super().linear(name, rows, weight, bias)


class QuantizedWeights:
    """Matrices in 8 bits and other tensors in float32, in one file of the artifact.

    A tensor is written at its first use by the graph. Inputs with known `ranges` are smoothed
    before they are rounded, and their weights are scaled inversely.
    """

    block: int | None = LINEAR_BLOCK

    def __init__(self, graph: GraphBuilder, folder: str, ranges: Ranges) -> None:
        self._graph = graph
        self._file = BlockFile(os.path.join(folder, WEIGHTS))
        self._ranges = ranges
        self._smoothed: dict[tuple[str, Tensor], str] = {}

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""
        return self._graph.weight(self._file.whole(tensor))

    def linear(
        self, name: str, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias with the weight in 8 bits unless `exact`."""
        if exact:
            return self._graph.node("Gemm", rows, self.whole(weight), self.whole(bias), transB=1)
        out_features, in_features = weight.shape
        factors = None
        if name in self._ranges:
            factors = smoothing(self._ranges[name])
            rows = self._divide(rows, factors)
        blocks = self._file.blocks(weight, LINEAR_BLOCK, factors)
        parts = [self._graph.weight(part) for part in blocks]
        return self._graph.fused(
            "MatMulNBits",
            rows,
            *parts,
            "",
            self.whole(bias),
            K=in_features,
            N=out_features,
            bits=8,
            block_size=LINEAR_BLOCK,
            accuracy_level=_INT8_ARITHMETIC,
        )

    def _divide(self, rows: str, factors: NDArray[np.float32]) -> str:
        """Return `rows` / `factors`; layers with equal inputs share the division."""
        import numpy as np

        key = rows, self._file.numbers(np.float32(1) / factors)
        if key not in self._smoothed:
            self._smoothed[key] = self._graph.node("Mul", rows, self._graph.weight(key[1]))
        return self._smoothed[key]

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows `ids` of `table`, widened from 8 bits."""
        width = table.shape[1]
        if width % TABLE_BLOCK:  # GatherBlockQuantized does not support an incomplete last block
            return self._graph.node("Gather", self.whole(table), ids)
        levels, scales, zeros = self._file.blocks(table, TABLE_BLOCK)
        flat = Tensor(levels.path, levels.dtype, table.shape, levels.offset, levels.length)
        parts = [self._graph.weight(part) for part in (scales, zeros)]
        return self._graph.fused(
            "GatherBlockQuantized",
            self._graph.weight(flat),
            ids,
            *parts,
            bits=8,
            block_size=TABLE_BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )


def smoothing(ranges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the factors that divide the inputs of a layer and multiply its weights.

    Their geometric mean is 1. From SmoothQuant (Xiao et al., https://arxiv.org/abs/2211.10438),
    formula (4) without the part of the weights, which changed nothing here, so that layers with
    equal inputs share one division.
    """
    import numpy as np

    factors = np.maximum(ranges, _SMALLEST) ** _SMOOTHING
    scaled: NDArray[np.float32] = factors / np.exp(np.log(factors).mean())
    return scaled
