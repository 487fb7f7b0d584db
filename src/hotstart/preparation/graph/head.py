"""Pooling and the head after it as graph nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hotstart.errors import ModelDamaged
from hotstart.models.architectures import ClassifierLayer
from hotstart.models.modules import DenseLayer, HeadStep
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_DENSE_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "Identity": lambda graph, x: x,
    "Tanh": lambda graph, x: graph.node("Tanh", x),
    "ReLU": lambda graph, x: graph.node("Relu", x),
    "Sigmoid": lambda graph, x: graph.node("Sigmoid", x),
    "GELU": lambda graph, x: graph.fused("Gelu", x),
    "SiLU": lambda graph, x: graph.fused("QuickGelu", x, alpha=1.0),
}


def pool(graph: GraphBuilder, tokens: str, attention_mask: str, modes: Sequence[str]) -> str:
    """Add pooling of (batch, tokens, hidden) to (batch, hidden x modes).

    Pooling follows sentence-transformers. Texts are padded on the right and are not empty.
    """
    pooled = [_POOLINGS[mode](graph, tokens, attention_mask) for mode in modes]
    return pooled[0] if len(pooled) == 1 else graph.node("Concat", *pooled, axis=-1)


def apply_head(
    graph: GraphBuilder,
    weights: Weights,
    vectors: str,
    head: Sequence[HeadStep],
    tensors: Mapping[str, Mapping[str, Tensor]],
    width: int | None,
) -> str:
    """Add the steps after pooling to `vectors`, which have the length `width`, unless unknown.

    `tensors` contains the tensors of each Dense layer by its path, and the tensors of a classifier
    under "". Dense layers are float32 in any precision, because they are small and their errors go
    directly into the vector.
    """
    for step in head:
        if isinstance(step, str):
            vectors = graph.node("LpNormalization", vectors, p=2, axis=-1)
        else:
            width = _check_dense(step, tensors[step.path], width)
            vectors = _dense(graph, weights, vectors, step, tensors[step.path])
    return vectors


def _check_dense(
    layer: DenseLayer | ClassifierLayer, tensors: Mapping[str, Tensor], width: int | None
) -> int:
    """Return the length of the layer's vectors; raise ModelDamaged if its weights do not fit."""
    where = layer.path or layer.name
    for name in [f"{layer.name}.weight", f"{layer.name}.bias"][: 1 + layer.bias]:
        if name not in tensors:
            raise ModelDamaged(where, reason=f"no tensor {name}")
    shape = tuple(tensors[f"{layer.name}.weight"].shape)
    if isinstance(layer, DenseLayer) and shape != (layer.out_features, layer.in_features):
        reason = f"out_features {layer.out_features} and in_features {layer.in_features}"
        raise ModelDamaged(where, reason=f"{reason}, weights of shape {shape}")
    if len(shape) != 2 or width not in {None, shape[1]}:
        raise ModelDamaged(where, reason=f"weights of shape {shape} for vectors of length {width}")
    if layer.bias and tuple(tensors[f"{layer.name}.bias"].shape) != shape[:1]:
        raise ModelDamaged(where, reason=f"a bias that does not fit weights of shape {shape}")
    return shape[0]


def _dense(
    graph: GraphBuilder,
    weights: Weights,
    vectors: str,
    layer: DenseLayer | ClassifierLayer,
    tensors: Mapping[str, Tensor],
) -> str:
    names = [f"{layer.name}.weight", f"{layer.name}.bias"][: 1 + layer.bias]
    parts = [weights.whole(tensors[name]) for name in names]
    return _DENSE_ACTIVATIONS[layer.activation](
        graph, graph.node("Gemm", vectors, *parts, transB=1)
    )


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


def _weighted_mean(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    """Add the mean of the tokens, each weighted with its position from 1 on."""
    counted = graph.node("CumSum", attention_mask, graph.constant(1, "INT32"))
    weights = graph.node("Mul", counted, attention_mask)
    return graph.node("Div", *_sum_and_count(graph, tokens, weights))


def _last_token(graph: GraphBuilder, tokens: str, attention_mask: str) -> str:
    length = graph.node("ReduceSum", attention_mask, graph.constant([1], "INT64"), keepdims=1)
    last = graph.node("Sub", length, graph.constant(1, "INT32"))
    return graph.node("GatherND", tokens, graph.cast(last, "INT64"), batch_dims=1)


def _sum_and_count(graph: GraphBuilder, tokens: str, attention_mask: str) -> tuple[str, str]:
    """Add the sum and count of tokens weighted by the mask: mask (1, tokens) @ (tokens, hidden)."""
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
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}
