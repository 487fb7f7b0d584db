"""Attention between the tokens of a text, in bounded memory, as graph nodes.

The scores of n queries and m keys are n x m numbers a head: 3 GB for a text of 8,192 tokens and 12
heads. A model of long texts therefore computes them for `CHUNK` queries at a time, in a loop, and
only the keys that these queries see are read. Measured with 8,192 tokens and 12 heads of 64, one
layer, ONNX Runtime, 2 cores:

| layer                         | all queries at once | chunks of 512   |
|---|---|---|
| all tokens                    | 1.5 s, 3.3 GB       | 1.7 s, 0.35 GB  |
| preceding tokens (causal)     | 1.8 s, 4.3 GB       | 1.0 s, 0.45 GB  |
| 64 tokens on both sides       | 2.8 s, 4.3 GB       | 0.2 s, 0.16 GB  |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hotstart.preparation.graph.builder import GraphBuilder

CHUNK = 512
"""Queries whose scores are computed at a time."""

_MASKED = -1e30  # a score that adds nothing; infinity would make NaN of a row without a key

Bias = Callable[[str], str]
"""Adds what is added to the scores, (1, heads or 1, queries, keys), for the distances of keys from
queries, INT64 (queries, keys)."""


class Attention:
    """Adds attention of one kind: which tokens see each other, and how.

    Args:
        graph: the graph.
        heads: the number of heads.
        width: heads x size of a head.
        before: how many tokens before it a token sees; None for all.
        after: how many tokens after it a token sees; None for all, 0 in a causal layer.
        scale: factor of the scores; None for 1 / sqrt(size of a head).
        bias: adds what is added to the scores; None for nothing.
        chunked: whether texts may be longer than CHUNK tokens.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        heads: int,
        width: int,
        *,
        before: int | None = None,
        after: int | None = None,
        scale: float | None = None,
        bias: Bias | None = None,
        chunked: bool = False,
    ) -> None:
        self._graph = graph
        self._width = width
        self._before = before
        self._after = after
        self._bias = bias
        self._chunked = chunked
        self._whole_bias: str | None = None
        self._attributes: dict[str, float | int] = {"num_heads": heads}
        if scale is not None:
            self._attributes["scale"] = scale

    def add(self, query: str, key: str, value: str, attention_mask: str, bias: str = "") -> str:
        """Return what each token gathers, float32 (batch, tokens, width).

        Args:
            query: (batch, tokens, width), as `key` and `value`.
            key: what queries are compared with.
            value: what is gathered.
            attention_mask: INT32 (batch, tokens), 0 for padding.
            bias: added to the scores of a text that is not chunked, (batch, heads, tokens, tokens).
        """
        graph = self._graph
        length = _length(graph, query)
        zero = graph.constant(0, "INT64")
        if bias:
            return self._attend(query, key, value, attention_mask, bias)
        if not self._chunked:
            if self._whole_bias is None:  # the layers share it
                every = _Span(zero, length)
                self._whole_bias = self._scores_bias(every, every)
            return self._attend(query, key, value, attention_mask, self._whole_bias)
        size = graph.constant(CHUNK, "INT64")

        def chunk(number: str, attended: str) -> str:
            start = graph.node("Mul", number, size)
            queries = _Span(start, graph.node("Min", graph.node("Add", start, size), length))
            keys = self._keys_seen(queries, length)
            context = self._attend(
                queries.of(graph, query),
                keys.of(graph, key),
                keys.of(graph, value),
                keys.of(graph, attention_mask),
                self._scores_bias(queries, keys),
            )
            return graph.node("Concat", attended, context, axis=1)

        more = graph.node("Add", length, graph.constant(CHUNK - 1, "INT64"))
        count = graph.node("Div", more, size)
        return graph.loop(count, _Span(zero, zero).of(graph, query), self._width, chunk)

    def _keys_seen(self, queries: _Span, length: str) -> _Span:
        """Add the range of the keys that at least one of `queries` sees."""
        graph = self._graph
        start, end = graph.constant(0, "INT64"), length
        if self._before is not None:
            first = graph.node("Sub", queries.start, graph.constant(self._before, "INT64"))
            start = graph.node("Max", first, start)
        if self._after is not None:
            last = graph.node("Add", queries.end, graph.constant(self._after, "INT64"))
            end = graph.node("Min", last, length)
        return _Span(start, end)

    def _attend(self, query: str, key: str, value: str, mask: str, bias: str) -> str:
        inputs = [query, key, value, "", mask, bias]
        return self._graph.fused("MultiHeadAttention", *inputs, **self._attributes)

    def _scores_bias(self, queries: _Span, keys: _Span) -> str:
        """Add what is added to the scores: (1, heads or 1, queries, keys); empty for nothing."""
        if self._bias is None and self._before is None and self._after is None:
            return ""
        graph = self._graph
        row = graph.node("Unsqueeze", keys.positions(graph), graph.constant([0], "INT64"))
        column = graph.node("Unsqueeze", queries.positions(graph), graph.constant([1], "INT64"))
        distances = graph.node("Sub", row, column)
        bias = graph.constant(0.0, "FLOAT") if self._bias is None else self._bias(distances)
        for operator, bound in (
            ("Less", None if self._before is None else -self._before),
            ("Greater", self._after),
        ):
            if bound is not None:
                unseen = graph.node(operator, distances, graph.constant(bound, "INT64"))
                unseen = graph.node("Unsqueeze", unseen, graph.constant([0, 1], "INT64"))
                bias = graph.node("Where", unseen, graph.constant(_MASKED, "FLOAT"), bias)
        return bias


class _Span(NamedTuple):
    """A range of tokens: scalars, the end not included."""

    start: str
    end: str

    def of(self, graph: GraphBuilder, tokens: str) -> str:
        """Add the part of `tokens` (batch, tokens, ...) in this range."""
        axis = graph.constant([0], "INT64")
        start = graph.node("Unsqueeze", self.start, axis)
        end = graph.node("Unsqueeze", self.end, axis)
        return graph.node("Slice", tokens, start, end, graph.constant([1], "INT64"))

    def positions(self, graph: GraphBuilder) -> str:
        """Add the positions in this range, INT64 (n,)."""
        return graph.node("Range", self.start, self.end, graph.constant(1, "INT64"))


def _length(graph: GraphBuilder, tokens: str) -> str:
    shape = graph.node("Shape", tokens, start=1, end=2)
    return graph.node("Squeeze", shape, graph.constant([0], "INT64"))
