"""How a graph comes by its weights: as they lie in the model's files, or in 8-bit blocks.

The encoder asks one of the two and does not know which: it names what a weight is for, and the
answer is a node's name. Settings of the 8-bit form, measured on all-MiniLM-L6-v2 (2 cores with
AVX512-VNNI, smallest and mean cosine of the 288 golden texts to float32, the median time of a short
text, which takes 1.6 ms in float32):

| blocks of linear layers                        | smallest | mean    | short text |
|---|---|---|---|
| 32, symmetric, int8 arithmetic                 | 0.9978   | 0.99938 | 1.2 ms     |
| 32, zero points, int8 arithmetic               | 0.9980   | 0.99945 | 1.2 ms     |
| 16, zero points, int8 arithmetic               | 0.9988   | 0.99965 | 1.2 ms     |
| **16, the same, value projections in float32** | 0.9994   | 0.99982 | 1.2 ms     |
| 32, zero points, float32 arithmetic            | 0.9995   | 0.99983 | 10.8 ms    |

The value projection is a twelfth of a layer's weights and half of the error: what it gets wrong
goes straight into the sum that becomes the vector. With float32 arithmetic ONNX Runtime widens
every weight anew at each call, as it does in any case where it may not pack them (first light).
"""

from __future__ import annotations

import os
from typing import Protocol

from hotstart.models.blocks import BlockFile
from hotstart.models.graph.builder import GraphBuilder
from hotstart.models.safetensors import Tensor

WEIGHTS = "weights.int8.bin"
LINEAR_BLOCK = 16
TABLE_BLOCK = 32
SCHEME = f"int8, zero points, blocks of {LINEAR_BLOCK} and {TABLE_BLOCK}, values float32"
"""What an 8-bit artifact's vectors depend on beside the weights: part of its fingerprint."""

_INT8_ARITHMETIC = 4  # `accuracy_level` of MatMulNBits


class Weights(Protocol):
    """Adds weights to a graph; each method returns the name of a float32 value."""

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""

    def linear(self, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False) -> str:
        """Return rows @ weight.T + bias: torch stores a weight as (out, in).

        `exact`: the weight is one that no bit can be spared of.
        """

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` that `ids` name."""


class Linked:
    """Float32 weights of files in the artifact, used where they lie."""

    def __init__(self, graph: GraphBuilder) -> None:
        self._graph = graph

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""
        return self._graph.weight(tensor)

    def linear(self, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False) -> str:
        """Return rows @ weight.T + bias."""
        return self._graph.node("Gemm", rows, self.whole(weight), self.whole(bias), transB=1)

    def lookup(self, table: Tensor, ids: str) -> str:
        """Return the rows of `table` that `ids` name."""
        return self._graph.node("Gather", self.whole(table), ids)


class Quantized:
    """Matrices in 8 bits, all else in float32, put down in one file of the artifact `folder`.

    Only what the graph uses is put down, when it is first asked for.
    """

    def __init__(self, graph: GraphBuilder, folder: str) -> None:
        self._graph = graph
        self._file = BlockFile(os.path.join(folder, WEIGHTS))

    def whole(self, tensor: Tensor) -> str:
        """Return `tensor` itself."""
        return self._graph.weight(self._file.whole(tensor))

    def linear(self, rows: str, weight: Tensor, bias: Tensor, *, exact: bool = False) -> str:
        """Return rows @ weight.T + bias, the weight in 8 bits unless `exact`."""
        if exact:
            return self._graph.node("Gemm", rows, self.whole(weight), self.whole(bias), transB=1)
        out_features, in_features = weight.shape
        parts = [self._graph.weight(part) for part in self._file.blocks(weight, LINEAR_BLOCK)]
        return self._graph.fused(
            *("MatMulNBits", rows, *parts, "", self.whole(bias)),
            K=in_features,
            N=out_features,
            bits=8,
            block_size=LINEAR_BLOCK,
            accuracy_level=_INT8_ARITHMETIC,
        )

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
