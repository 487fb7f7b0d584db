"""The positions of DeBERTa as graph nodes: content and position compared with each other.

He et al. 2020 (https://arxiv.org/abs/2006.03654), as transformers' `DisentangledSelfAttention`
computes them: to the scores of queries and keys are added the scores of queries and relative
positions, and of keys and relative positions.
"""

from __future__ import annotations

import math

from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import Family
from hotstart.models.description import Description
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.layers import Layers

_TABLE = "encoder.rel_embeddings"
_NORM = "encoder.LayerNorm"
_KINDS = ("c2p", "p2c")


class DisentangledPositions:
    """Adds the relative positions of `model` to attention scores.

    Attributes:
        scale: factor of all scores.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        layers: Layers,
        family: Family,
        model: Description,
        input_ids: str,
    ) -> None:
        self._graph = graph
        self._layers = layers
        self._family = family
        settings = model.settings
        self._hidden = int(settings["hidden_size"])
        self._heads = int(settings["num_attention_heads"])
        self._size = int(settings["head_dim"]) or self._hidden // self._heads
        self._kinds = list(settings["pos_att_type"])
        if not set(self._kinds) <= set(_KINDS):
            raise UnsupportedModel(
                model.folder, feature="pos_att_type", got=self._kinds, supported=_KINDS
            )
        self._shares = bool(settings["share_att_key"])
        self.scale = 1 / math.sqrt(self._size * (1 + len(self._kinds)))
        farthest = int(settings["max_relative_positions"])
        if farthest < 1:
            farthest = int(settings["max_position_embeddings"])
        buckets = int(settings["position_buckets"])
        self._span = buckets if buckets > 0 else farthest
        self._batch = graph.node("Shape", input_ids)
        near = self._near(input_ids)
        self._positions = self._table(near, settings["norm_rel_ebd"] == "layer_norm")
        rows = position_rows(model.max_seq_length, buckets, farthest, self._span)
        self._forward, self._backward = self._indices(input_ids, near, rows)

    def _near(self, input_ids: str) -> str:
        """Return the first row of the table that a text of this length needs, INT64 (1,).

        A bucket is never farther from the middle than its distance.
        """
        graph = self._graph
        length = graph.node("Shape", input_ids, start=1)
        first = graph.node("Sub", graph.constant([self._span], "INT64"), length)
        return graph.node("Max", first, graph.constant([0], "INT64"))

    def _table(self, near: str, is_normed: bool) -> str:
        """Return the embeddings of the positions that are needed, (positions, hidden)."""
        graph = self._graph
        table = self._layers.whole(f"{_TABLE}.weight", 2 * self._span, self._hidden)
        end = graph.node("Sub", graph.constant([2 * self._span], "INT64"), near)
        table = graph.node("Slice", table, near, end, graph.constant([0], "INT64"))
        return self._layers.norm(_NORM, table, self._hidden) if is_normed else table

    def _indices(self, input_ids: str, near: str, rows: list[int]) -> tuple[str, str]:
        """Return the row of each pair of tokens, (batch, heads, tokens, tokens).

        In the first, the distance is that from the second token to the first one; in the second,
        that from the first one to the second.
        """
        graph = self._graph
        length = graph.node("Shape", input_ids, start=1)
        zero = graph.constant(0, "INT64")
        count = graph.node("Squeeze", length, graph.constant([0], "INT64"))
        order = graph.node("Range", zero, count, graph.constant(1, "INT64"))
        column = graph.node("Unsqueeze", order, graph.constant([1], "INT64"))
        distances = graph.node("Sub", column, order)
        middle = graph.constant(len(rows) // 2, "INT64")
        row_of = graph.node("Sub", graph.constant(rows, "INT64"), near)
        shape = graph.node(
            "Concat",
            graph.node("Shape", input_ids, end=1),
            graph.constant([self._heads], "INT64"),
            length,
            length,
            axis=0,
        )
        forward = graph.node("Gather", row_of, graph.node("Add", distances, middle))
        backward = graph.node("Gather", row_of, graph.node("Sub", middle, distances))
        return graph.node("Expand", forward, shape), graph.node("Expand", backward, shape)

    def bias(self, prefix: str, query: str, key: str) -> str:
        """Return what is added to the scores, (batch, heads, tokens, tokens).

        Args:
            prefix: the prefix of the layer.
            query: (batch, tokens, heads x size).
            key: likewise.
        """
        graph = self._graph
        parts = []
        if "c2p" in self._kinds:
            name = str(self._family.key) if self._shares else "attention.self.pos_key_proj"
            parts.append(self._gathered(query, prefix + name, self._forward))
        if "p2c" in self._kinds:
            name = str(self._family.query) if self._shares else "attention.self.pos_query_proj"
            turned = self._gathered(key, prefix + name, self._backward)
            parts.append(graph.node("Transpose", turned, perm=[0, 1, 3, 2]))
        if not parts:
            return ""
        total = parts[0] if len(parts) == 1 else graph.node("Add", parts[0], parts[1])
        return graph.node("Mul", total, graph.constant(self.scale, "FLOAT"))

    def _gathered(self, content: str, name: str, index: str) -> str:
        """Return the scores of each token of `content` and its position to each other token."""
        graph = self._graph
        width = self._heads * self._size
        projected = self._layers.linear(name, self._positions, width, self._hidden, exact=True)
        split = graph.constant([-1, self._heads, self._size], "INT64")
        positions = graph.node("Reshape", projected, split)
        positions = graph.node("Transpose", positions, perm=[1, 2, 0])
        heads = graph.constant([self._heads, self._size], "INT64")
        shape = graph.node("Concat", self._batch, heads, axis=0)
        rows = graph.node("Transpose", graph.node("Reshape", content, shape), perm=[0, 2, 1, 3])
        return graph.node("GatherElements", graph.node("MatMul", rows, positions), index, axis=3)


def position_rows(tokens: int, buckets: int, farthest: int, span: int) -> list[int]:
    """Return the row of the table for each distance from -tokens to tokens.

    The formulas are transformers' `make_log_bucket_position`: a row for each small distance, and a
    logarithmic scale for larger ones. They are computed in float32, as in training.
    """
    import numpy as np

    distances = np.arange(-tokens, tokens + 1)
    if buckets > 0 and farthest > 0:
        middle = buckets // 2
        away = np.where(abs(distances) < middle, middle - 1, abs(distances)).astype(np.float32)
        ratio = np.log(away / np.float32(middle)) / np.log(np.float32((farthest - 1) / middle))
        large = np.ceil(ratio * np.float32(middle - 1)) + middle
        distances = np.where(away <= middle, distances, large * np.sign(distances)).astype(int)
    return [int(row) for row in np.clip(distances + span, 0, 2 * span - 1)]
