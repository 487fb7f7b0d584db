"""Weights of a graph: linked float32, or quantized in blocks.

The encoder calls the methods of `Weights`, which return node names. In 8 bits both factors of a
product are rounded, in blocks that share a scale. Settings measured on all-MiniLM-L6-v2 (2 cores
with AVX512-VNNI; minimum and mean cosine of the 288 golden texts to float32; passages of 122 tokens
per second on OpenVINO):

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

An error of a value projection goes directly into the sum that becomes the vector. A few inputs are
much larger than the others and make their block's scale coarse; smoothing reduces them. ONNX
Runtime is not faster in 8 bits, but needs a third of the memory. With `accuracy_level` 0, and at
the stage `fast_start`, where weights are not packed, it converts every weight in each call.
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
    """The maximum absolute value of each input of a linear layer, by the layer's name."""

LEVELS = 255
_CHUNK = 1 << 20  # numbers quantized at a time: 4 MB, and a few times that in working memory
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

    An incomplete last block is filled with zeros. The levels always include zero.
    """
    import numpy as np

    missing = -rows.shape[1] % block
    filled = np.pad(rows, ((0, 0), (0, missing))) if missing else rows
    cut = filled.reshape(len(rows), -1, block)
    low = np.minimum(cut.min(-1), 0)
    high = np.maximum(cut.max(-1), 0)
    scales = (high - low) / np.float32(LEVELS)
    scales[scales == 0] = 1
    zeros = np.clip(np.rint(-low / scales), 0, LEVELS)
    levels = np.clip(np.rint(cut / scales[..., None]) + zeros[..., None], 0, LEVELS)
    return levels.astype(np.uint8), scales, zeros.astype(np.uint8)


class BlockFile:
    """Writes quantized tensors into one file at `path`, each once, in bounded memory.

    A tensor of at least one page starts at a page boundary, so it can be mapped separately.
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
        """Write `values` (n,) as float32."""
        content = values.tobytes()
        if content not in self._numbers:
            placed = self._reserve("F32", values.shape, 4)
            self._write(placed, 0, content)
            self._numbers[content] = placed
        return self._numbers[content]

    def blocks(
        self,
        tensor: Tensor,
        block: int,
        factors: NDArray[np.float32] | None = None,
        *,
        transposed: bool = False,
    ) -> QuantizedBlocks:
        """Write the matrix `tensor`, `transposed`, with each column times its factor, in 8 bits.

        Raises:
            ModelDamaged: the tensor contains an infinity or NaN, which cannot be scaled.
        """
        key = tensor, b"" if factors is None else factors.tobytes()
        if key not in self._blocks:
            rows, width = tensor.shape[::-1] if transposed else tensor.shape
            count = -(-width // block)
            placed = QuantizedBlocks(
                self._reserve("U8", (rows, count, block), 1),
                self._reserve("F32", (rows, count), 4),
                self._reserve("U8", (rows, count), 1),
            )
            step = max(1, _CHUNK // width)
            for first in range(0, rows, step):
                numbers = _rows(tensor, first, min(step, rows - first), transposed)
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


def _rows(tensor: Tensor, first: int, count: int, transposed: bool) -> NDArray[np.float32]:
    """Return `count` rows of a matrix; of a `transposed` one, which is read whole, columns.

    Raises:
        ModelDamaged: the rows contain an infinity or NaN.
    """
    import numpy as np

    height, width = tensor.shape
    if transposed:
        whole = read_floats(tensor, 0, height * width).reshape(height, width)
        numbers = np.ascontiguousarray(whole[:, first : first + count].T)
    else:
        numbers = read_floats(tensor, first * width, count * width).reshape(count, width)
    if not np.isfinite(numbers).all():
        raise ModelDamaged(tensor.path, reason="a weight is not a finite number")
    return numbers


WEIGHTS = "weights.int8.bin"
LINEAR_BLOCK = 64
TABLE_BLOCK = 32
SCHEME = f"int8, zero points, blocks of {LINEAR_BLOCK} and {TABLE_BLOCK}, values float32, smoothed"
"""The quantization settings of an 8-bit artifact: part of its fingerprint."""

_SMOOTHING = 0.4
_MIN_RANGE = 1e-3  # lower limit for inputs that are almost always zero
_INT8_ARITHMETIC = 4  # `accuracy_level` of MatMulNBits


class Weights(Protocol):
    """Adds weights to a graph; each method returns the name of a float32 value.

    Attributes:
        block: see `hotstart.types.GraphFiles`.
    """

    block: int | None

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` in float32."""

    def linear(
        self,
        name: str,
        rows: str,
        weight: Tensor,
        bias: Tensor | None,
        *,
        exact: bool = False,
        transposed: bool = False,
    ) -> str:
        """Return rows @ weight.T + bias, because torch stores a weight as (out, in).

        Args:
            name: the name of the layer.
            rows: the name of the inputs.
            weight: the weight of the layer.
            bias: the bias of the layer; None for none.
            exact: whether the weight must stay in float32.
            transposed: whether the weight is stored as (in, out).
        """

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` at `ids`."""


class LinkedWeights:
    """Float32 weights, used in place in the files of the artifact."""

    block: int | None = None

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` in float32."""
        return self._graph.weight(tensor)

    def linear(
        self,
        name: str,
        rows: str,
        weight: Tensor,
        bias: Tensor | None,
        *,
        exact: bool = False,
        transposed: bool = False,
    ) -> str:
        """Return rows @ weight.T + bias."""
        biases = [] if bias is None else [self.whole(bias)]
        side = int(not transposed)
        return self._graph.node("Gemm", rows, self.whole(weight), *biases, transB=side)

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` at `ids`."""
        return self._graph.node("Gather", self.whole(table), ids)


class ObservedWeights(LinkedWeights):
    """Linked weights; the graph also outputs the inputs of each linear layer."""

    def linear(
        self,
        name: str,
        rows: str,
        weight: Tensor,
        bias: Tensor | None,
        *,
        exact: bool = False,
        transposed: bool = False,
    ) -> str:
        """Return rows @ weight.T + bias."""
        if not exact:
            width = weight.shape[0 if transposed else 1]
            # An expert may have no rows, which have no maximum.
            zeros = self._graph.constant([0.0] * width, "FLOAT")
            row = self._graph.node("Unsqueeze", zeros, self._graph.constant([0], "INT64"))
            absolute = self._graph.node("Concat", self._graph.node("Abs", rows), row, axis=0)
            maximum = self._graph.node("ReduceMax", absolute, axes=[0], keepdims=0)
            self._graph.add_output(name, maximum, width)
        return super().linear(name, rows, weight, bias, transposed=transposed)


class QuantizedWeights:
    """Matrices in 8 bits and other weights in float32, in one file of the artifact.

    A weight is written at its first use. If the `ranges` of a layer's inputs are known, the inputs
    are scaled to similar ranges before rounding, and the weights are scaled inversely.
    """

    block: int | None = LINEAR_BLOCK

    def __init__(self, graph: GraphBuilder, folder: str, ranges: Ranges) -> None:
        self._graph = graph
        self._file = BlockFile(os.path.join(folder, WEIGHTS))
        self._ranges = ranges
        self._smoothed: dict[tuple[str, Tensor], str] = {}

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` in float32."""
        return self._graph.weight(self._file.whole(tensor))

    def linear(
        self,
        name: str,
        rows: str,
        weight: Tensor,
        bias: Tensor | None,
        *,
        exact: bool = False,
        transposed: bool = False,
    ) -> str:
        """Return rows @ weight.T + bias with the weight in 8 bits unless `exact`."""
        biases = [] if bias is None else [self.whole(bias)]
        if exact:
            side = int(not transposed)
            return self._graph.node("Gemm", rows, self.whole(weight), *biases, transB=side)
        out_features, in_features = weight.shape[::-1] if transposed else weight.shape
        factors = None
        if name in self._ranges:
            factors = smoothing(self._ranges[name])
            rows = self._divide(rows, factors)
        blocks = self._file.blocks(weight, LINEAR_BLOCK, factors, transposed=transposed)
        parts = [self._graph.weight(part) for part in blocks]
        return self._graph.fused(
            "MatMulNBits",
            rows,
            *parts,
            *(["", *biases] if biases else []),
            K=in_features,
            N=out_features,
            bits=8,
            block_size=LINEAR_BLOCK,
            accuracy_level=_INT8_ARITHMETIC,
        )

    def _divide(self, rows: str, factors: NDArray[np.float32]) -> str:
        """Return `rows` / `factors`; layers with equal inputs and factors share the division."""
        import numpy as np

        key = rows, self._file.numbers(np.float32(1) / factors)
        if key not in self._smoothed:
            self._smoothed[key] = self._graph.node("Mul", rows, self._graph.weight(key[1]))
        return self._smoothed[key]

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` at `ids`, converted from 8 bits."""
        width = table.shape[1]
        if width % TABLE_BLOCK:  # GatherBlockQuantized does not support a padded last block
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
    """Return the factors that divide a layer's inputs and multiply its weights.

    The geometric mean of the factors is 1. The method is SmoothQuant (Xiao et al.,
    https://arxiv.org/abs/2211.10438), with only the input part of formula (4), so layers with the
    same inputs share one division. The weight part had no effect in measurements.
    """
    import numpy as np

    factors = np.maximum(ranges, _MIN_RANGE) ** _SMOOTHING
    scaled: NDArray[np.float32] = factors / np.exp(np.log(factors).mean())
    return scaled
