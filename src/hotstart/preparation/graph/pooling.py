"""Token embeddings to one vector a text: pooling, Dense layers, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hotstart.errors import ModelDamaged
from hotstart.models.modules import ClassifierLayer, DenseLayer, HeadStep
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "Identity": lambda graph, x: x,
    "Tanh": lambda graph, x: graph.node("Tanh", x),
    "ReLU": lambda graph, x: graph.node("Relu", x),
    "Sigmoid": lambda graph, x: graph.node("Sigmoid", x),
    "GELU": lambda graph, x: graph.fused("Gelu", x),
    "SiLU": lambda graph, x: graph.fused("QuickGelu", x, alpha=1.0),
}


def pool(graph: GraphBuilder, tokens: str, attention_mask: str, modes: Sequence[str]) -> str:
    """Add pooling of (batch, tokens, hidden) to (batch, hidden x modes), as sentence-transformers.

    Texts are padded on the right and hold at least one token.
    """
    pooled = [_POOLINGS[mode](graph, tokens, attention_mask) for mode in modes]
    return pooled[0] if len(pooled) == 1 else graph.node("Concat", *pooled, axis=-1)


def apply_head(
    graph: GraphBuilder,
    weights: Weights,
    vectors: str,
    head: Sequence[HeadStep],
    tensors: Mapping[str, Mapping[str, Tensor]],
) -> str:
    """Add the steps after pooling; `tensors` holds each Dense layer's by the layer's path, and
    those of a classifier, as the encoder's, under "".

    Dense layers stay whole in any precision: they are small, and what they get wrong stays in.
    """
    for step in head:
        if isinstance(step, str):
            vectors = graph.node("LpNormalization", vectors, p=2, axis=-1)
        else:
            vectors = _dense(graph, weights, vectors, step, tensors[step.path])
    return vectors


def _dense(
    graph: GraphBuilder,
    weights: Weights,
    vectors: str,
    layer: DenseLayer | ClassifierLayer,
    tensors: Mapping[str, Tensor],
) -> str:
    names = [f"{layer.name}.weight", f"{layer.name}.bias"][: 1 + layer.bias]
    for name in names:
        if name not in tensors:
            raise ModelDamaged(layer.path or layer.name, reason=f"no tensor {name}")
    parts = [weights.whole(tensors[name]) for name in names]
    return _ACTIVATIONS[layer.activation](graph, graph.node("Gemm", vectors, *parts, transB=1))


def _cls(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    return graph.node("Gather", tokens, graph.constant(0, "INT64"), axis=1)


def _max(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    present = graph.cast(_as_column(graph, attention_mask), "BOOL")
    masked = graph.node("Where", present, tokens, graph.constant(float("-inf"), "FLOAT"))
    return graph.node("ReduceMax", masked, axes=[1], keepdims=0)


def _mean(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    return graph.node("Div", *_sum_and_count(graph, tokens, attention_mask))


def _mean_sqrt_len(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    total, count = _sum_and_count(graph, tokens, attention_mask)
    return graph.node("Div", total, graph.node("Sqrt", count))


def _last_token(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    length = graph.node("ReduceSum", attention_mask, graph.constant([1], "INT64"), keepdims=1)
    last = graph.node("Sub", length, graph.constant(1, "INT32"))
    return graph.node("GatherND", tokens, graph.cast(last, "INT64"), batch_dims=1)


def _sum_and_count(graph: GraphBuilder, tokens: str, attention_mask: str) -> tuple[str, str]:
    """The sum over real tokens as a product with the mask, (1, tokens) @ (tokens, hidden)."""
    axis = graph.constant([1], "INT64")
    mask = graph.cast(attention_mask, "FLOAT")
    total = graph.node("MatMul", graph.node("Unsqueeze", mask, axis), tokens)
    return graph.node("Squeeze", total, axis), graph.node("ReduceSum", mask, axis, keepdims=1)


def _as_column(graph: GraphBuilder, attention_mask: str) -> str:
    return graph.node("Unsqueeze", attention_mask, graph.constant([2], "INT64"))


_POOLINGS: dict[str, Callable[[GraphBuilder, str, str], str]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "lasttoken": _last_token,
}
