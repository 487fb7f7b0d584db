"""How tokens know where they stand: RoBERTa's position ids, MPNet's relative position bias."""

from __future__ import annotations

from hotstart.preparation.graph.builder import GraphBuilder

_MAX_DISTANCE = 128  # beyond it, all distances share a bucket (transformers' MPNetEncoder)


def position_rows(graph: GraphBuilder, input_ids: str, table: str, padding: int | None) -> str:
    """Add the rows of the position embedding `table` that the tokens' positions name.

    Without `padding` positions count from 0 for every text, and the rows are (tokens, hidden).
    With it they are RoBERTa's `position_ids`, and the rows (batch, tokens, hidden).
    """
    if padding is not None:
        return graph.node("Gather", table, position_ids(graph, input_ids, padding))
    start, length = graph.constant([0], "INT64"), graph.node("Shape", input_ids, start=1)
    return graph.node("Slice", table, start, length, start)  # the last names the axis


def position_ids(graph: GraphBuilder, input_ids: str, pad_token_id: int) -> str:
    """Add the positions of tokens counted from pad_token_id + 1, padding left at pad_token_id.

    As transformers' create_position_ids_from_input_ids: it looks at the ids, not at the attention
    mask, so a literal pad token within a text is not counted either.
    """
    pad = graph.constant(pad_token_id, "INT32")
    real = graph.cast(graph.node("Not", graph.node("Equal", input_ids, pad)), "INT32")
    counted = graph.node("CumSum", real, graph.constant(1, "INT32"))
    return graph.node("Add", graph.node("Mul", counted, real), pad)


def relative_bias(
    graph: GraphBuilder, input_ids: str, table: str, *, buckets: int, positions: int
) -> str:
    """Add the attention bias (1, heads, tokens, tokens) looked up in `table` (buckets, heads)."""
    count = graph.node("Shape", input_ids, start=1)
    length = graph.node("Squeeze", count, graph.constant([0], "INT64"))
    zero, one = graph.constant(0, "INT64"), graph.constant(1, "INT64")
    place = graph.node("Range", zero, length, one)
    rows = graph.node("Unsqueeze", place, graph.constant([1], "INT64"))
    distance = graph.node("Sub", place, rows)
    offset = graph.constant(positions - 1, "INT64")
    bucket_of = graph.constant(distance_buckets(buckets, positions), "INT64")
    bucket = graph.node("Gather", bucket_of, graph.node("Add", distance, offset))
    bias = graph.node("Transpose", graph.node("Gather", table, bucket), perm=[2, 0, 1])
    return graph.node("Unsqueeze", bias, graph.constant([0], "INT64"))


def distance_buckets(buckets: int, positions: int) -> list[int]:
    """Return the bucket of each distance from 1 - positions to positions - 1.

    T5's bucketing (Raffel et al. 2020, section 2.1): half the buckets for tokens behind, half for
    those ahead; small distances one by one, larger ones on a logarithmic scale. Computed in
    float32, as the models were trained.
    """
    import numpy as np

    behind = -np.arange(1 - positions, positions)
    half, exact = buckets // 2, buckets // 4
    n = np.abs(behind)
    ratio = np.log(np.maximum(n, 1).astype(np.float32) / exact) / np.log(_MAX_DISTANCE / exact)
    large = exact + (ratio.astype(np.float32) * (half - exact)).astype(np.int64)
    bucket = np.where(n < exact, n, np.minimum(large, half - 1))
    return [int(b) for b in bucket + (behind < 0) * half]
