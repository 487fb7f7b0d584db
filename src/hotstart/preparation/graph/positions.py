"""Positions of tokens as graph nodes: tables, rotations, and what is added to attention scores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.preparation.graph.builder import GraphBuilder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def position_rows(graph: GraphBuilder, input_ids: str, table: str, padding: int | None) -> str:
    """Add a lookup of the tokens' positions in the position embedding `table`.

    If `padding` is None, positions start at 0 and the result is (tokens, hidden). Otherwise
    positions are RoBERTa's `position_ids`, and the result is (batch, tokens, hidden).
    """
    if padding is not None:
        return graph.node("Gather", table, position_ids(graph, input_ids, padding))
    zero = graph.constant([0], "INT64")
    length = graph.node("Shape", input_ids, start=1)
    return graph.node("Slice", table, zero, length, zero)  # start 0, end length, axis 0


def position_ids(graph: GraphBuilder, input_ids: str, pad_token_id: int) -> str:
    """Add token positions that start at pad_token_id + 1; padding has pad_token_id.

    This follows create_position_ids_from_input_ids of transformers, which reads the ids and not the
    attention mask, so a pad token inside a text is not counted.
    """
    pad = graph.constant(pad_token_id, "INT32")
    real = graph.cast(graph.node("Not", graph.node("Equal", input_ids, pad)), "INT32")
    counted = graph.node("CumSum", real, graph.constant(1, "INT32"))
    return graph.node("Add", graph.node("Mul", counted, real), pad)


def relative_bias(
    graph: GraphBuilder, distances: str, table: str, *, buckets: int, farthest: int
) -> str:
    """Add the bias (1, heads, queries, keys) from `table` (buckets, heads).

    Args:
        graph: the graph.
        distances: of keys from queries, INT64 (queries, keys).
        table: the bias of each bucket.
        buckets: the number of buckets.
        farthest: the distance from which on all share one bucket.
    """
    ends = [graph.constant(end, "INT64") for end in (-farthest, farthest)]
    near = graph.node("Min", graph.node("Max", distances, ends[0]), ends[1])
    bucket_of = graph.constant(distance_buckets(buckets, farthest), "INT64")
    bucket = graph.node("Gather", bucket_of, graph.node("Add", near, ends[1]))
    bias = graph.node("Transpose", graph.node("Gather", table, bucket), perm=[2, 0, 1])
    return graph.node("Unsqueeze", bias, graph.constant([0], "INT64"))


def distance_buckets(buckets: int, farthest: int) -> list[int]:
    """Return the bucket of each distance from -farthest to farthest.

    The buckets follow T5 (Raffel et al. 2020, section 2.1): half of them for preceding tokens, half
    for following tokens, one bucket per small distance, and a logarithmic scale for larger
    distances. They are computed in float32, as in training.
    """
    import numpy as np

    behind = -np.arange(-farthest, farthest + 1)
    half = buckets // 2
    exact = buckets // 4
    n = np.abs(behind)
    ratio = np.log(np.maximum(n, 1).astype(np.float32) / exact) / np.log(farthest / exact)
    large = exact + (ratio.astype(np.float32) * (half - exact)).astype(np.int64)
    bucket = np.where(n < exact, n, np.minimum(large, half - 1))
    return [int(b) for b in bucket + (behind < 0) * half]


def linear_bias(graph: GraphBuilder, distances: str, heads: int) -> str:
    """Add the bias (1, heads, queries, keys) of ALiBi: the distance times the slope of each head.

    The slopes are those of Press et al. 2021, the distance is that on either side.
    """
    away = graph.node("Neg", graph.node("Abs", graph.cast(distances, "FLOAT")))
    column = graph.node("Unsqueeze", away, graph.constant([0, 3], "INT64"))
    scaled = graph.node("Mul", column, graph.constant(linear_slopes(heads), "FLOAT"))
    return graph.node("Transpose", scaled, perm=[0, 3, 1, 2])


def linear_slopes(heads: int) -> list[float]:
    """Return the slope of each head (Press et al. 2021, section 3).

    For a number of heads that is no power of two, every second slope of the next power follows.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (n + 1) / power) for n in range(power)]
    between = [2 ** (-4 * (n + 1) / power) for n in range(0, 2 * power, 2)]
    return slopes + between[: heads - power]


class Rotation(NamedTuple):
    """Cosines and sines (tokens, 1, size / 2) of the rotation of each position."""

    cosines: str
    sines: str


def rotation_speeds(size: int, base: float, scaling: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the rotation of each pair of numbers in radians per position, (size / 2).

    Args:
        size: the size of a head.
        base: the base of the exponents (Su et al. 2021, section 3.2.2).
        scaling: `rope_type` and its parameters: `linear`, `llama3` (transformers'
            `_compute_llama3_parameters`) and `ntk` (https://kexue.fm/archives/9706).
    """
    import numpy as np

    kind = scaling["rope_type"]
    factor = np.float32(scaling["rope_factor"])
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    if kind == "ntk":
        base = base * float(factor)
    speeds = (1.0 / np.float32(base) ** exponents).astype(np.float32)
    if kind == "ntk":
        speeds = speeds / factor ** np.float32(2 / size)
    elif kind == "linear":
        speeds = speeds / factor
    elif kind == "llama3":
        speeds = _llama3(speeds, factor, scaling)
    result: NDArray[np.float32] = speeds.astype(np.float32)
    return result


def _llama3(
    speeds: NDArray[np.float32], factor: np.float32, scaling: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Return `speeds` divided by `factor` for long waves, unchanged for short ones."""
    import numpy as np

    low = scaling["low_freq_factor"]
    high = scaling["high_freq_factor"]
    known = scaling["original_max_position_embeddings"]
    waves = 2 * math.pi / speeds
    share = np.clip((known / waves - low) / (high - low), 0, 1)
    mixed: NDArray[np.float32] = (1 - share) * speeds / factor + share * speeds
    return mixed


def rotation_tables(graph: GraphBuilder, input_ids: str, speeds: NDArray[np.float32]) -> Rotation:
    """Add cosines and sines of the rotation of each position."""
    count = graph.node("Shape", input_ids, start=1)
    length = graph.node("Squeeze", count, graph.constant([0], "INT64"))
    zero, one = (graph.constant(number, "INT64") for number in (0, 1))
    positions = graph.cast(graph.node("Range", zero, length, one), "FLOAT")
    column = graph.node("Unsqueeze", positions, graph.constant([1, 2], "INT64"))
    angles = graph.node("Mul", column, graph.constant(speeds.tolist(), "FLOAT"))
    return Rotation(cosines=graph.node("Cos", angles), sines=graph.node("Sin", angles))


def rotate(graph: GraphBuilder, heads: str, rotation: Rotation, size: int) -> str:
    """Add the rotation of `heads` (batch, tokens, heads, size).

    It is built of plain operators, because OpenVINO computes ONNX Runtime's `RotaryEmbedding` over
    three axes wrongly.
    """
    halves = graph.constant([size // 2, size // 2], "INT64")
    left = graph.node("Split", heads, halves, axis=-1, outputs=2)
    right = f"{left}_1"
    cosines, sines = rotation.cosines, rotation.sines
    turned = [
        graph.node("Sub", graph.node("Mul", left, cosines), graph.node("Mul", right, sines)),
        graph.node("Add", graph.node("Mul", right, cosines), graph.node("Mul", left, sines)),
    ]
    return graph.node("Concat", *turned, axis=-1)
