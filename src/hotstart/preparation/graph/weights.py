"""How a graph comes by its weights: as they lie in the model's files, or in 8-bit blocks.

The encoder asks one of them and does not know which: it names what a weight is for, and the answer
is a node's name. In 8 bits both factors of a product are rounded, in blocks that share a scale.
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

What a value projection gets wrong goes straight into the sum that becomes the vector. Smoothing
takes from few inputs that are far larger than the rest what their block's scale loses to them.
ONNX Runtime is no faster for it, but needs a third of the memory; with `accuracy_level` 0 it widens
every weight anew at each call, as it does where it may not pack them (first light).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from hotstart.models.blocks import BlockFile
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.safetensors import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ranges = Mapping[str, NDArray[np.float32]]
    """Of a linear layer's inputs, by its name, the greatest absolute value of each."""

WEIGHTS = "weights.int8.bin"
LINEAR_BLOCK = 64
TABLE_BLOCK = 32
SCHEME = f"int8, zero points, blocks of {LINEAR_BLOCK} and {TABLE_BLOCK}, values float32, smoothed"
"""What an 8-bit artifact's vectors depend on beside the weights: part of its fingerprint."""

_SMOOTHING = 0.4
_SMALLEST = 1e-3  # range of an input that is all but never there
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

        `name`: of the layer. `exact`: the weight is one that no bit can be spared of.
        """

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` that `ids` name."""


class Linked:
    """Float32 weights of files in the artifact, used where they lie."""

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
        """Return the rows of `table` that `ids` name."""
        return self._graph.node("Gather", self.whole(table), ids)


class Observed(Linked):
    """The same, and what each linear layer is given is shown, but for those that stay exact."""

    def linear(
        self, name: str, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False
    ) -> str:
        """Return rows @ weight.T + bias."""
        if not exact:
            sizes = self._graph.node("Abs", rows)
            greatest = self._graph.node("ReduceMax", sizes, axes=[0], keepdims=0)
            self._graph.show(name, greatest, weight.shape[1])
        return super().linear(name, rows, weight, bias)


class Quantized:
    """Matrices in 8 bits, all else in float32, put down in one file of the artifact `folder`.

    Only what the graph uses is put down, when it is first asked for. Inputs whose `ranges` are
    known are made alike before they are rounded, and their weights the less so.
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
        """Return rows @ weight.T + bias, the weight in 8 bits unless `exact`."""
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
            *("MatMulNBits", rows, *parts, "", self.whole(bias)),
            K=in_features,
            N=out_features,
            bits=8,
            block_size=LINEAR_BLOCK,
            accuracy_level=_INT8_ARITHMETIC,
        )

    def _divide(self, rows: str, factors: NDArray[np.float32]) -> str:
        """Return `rows` / `factors`, which layers that are given the same share."""
        import numpy as np

        key = rows, self._file.numbers(np.float32(1) / factors)
        if key not in self._smoothed:
            self._smoothed[key] = self._graph.node("Mul", rows, self._graph.weight(key[1]))
        return self._smoothed[key]

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` that `ids` name, widened from 8 bits."""
        width = table.shape[1]
        if width % TABLE_BLOCK:  # GatherBlockQuantized has no place for a last block's filling
            return self._graph.node("Gather", self.whole(table), ids)
        levels, scales, zeros = self._file.blocks(table, TABLE_BLOCK)
        flat = Tensor(levels.path, levels.dtype, table.shape, levels.offset, levels.length)
        parts = [self._graph.weight(part) for part in (scales, zeros)]
        return self._graph.fused(
            *("GatherBlockQuantized", self._graph.weight(flat), ids, *parts),
            bits=8,
            block_size=TABLE_BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )


def smoothing(ranges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a layer's inputs are divided by and its weights multiplied with.

    The geometric mean of these factors is 1. After SmoothQuant (Xiao et al.,
    https://arxiv.org/abs/2211.10438), of whose formula (4) it takes the part of the inputs alone,
    so that layers of the same inputs share one division: the weights' part changed nothing here.
    """
    import numpy as np

    factors = np.maximum(ranges, _SMALLEST) ** _SMOOTHING
    scaled: NDArray[np.float32] = factors / np.exp(np.log(factors).mean())
    return scaled
