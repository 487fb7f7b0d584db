"""Pooling and the steps around it as graph nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.description import Description
from hotstart.models.modules import (
    MASKED_HEADS,
    ClassifierLayer,
    ClassifierNorm,
    DenseLayer,
    HeadStep,
    MaskedHead,
    NormLayer,
    Pooling,
    Splade,
    TokenScore,
)
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.layers import ACTIVATIONS, Layers
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_DENSE_ACTIVATIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "Identity": lambda graph, x: x,
    "Tanh": lambda graph, x: graph.node("Tanh", x),
    "ReLU": lambda graph, x: graph.node("Relu", x),
    "Sigmoid": lambda graph, x: graph.node("Sigmoid", x),
    "GELU": lambda graph, x: graph.fused("Gelu", x),
    "SiLU": lambda graph, x: graph.fused("QuickGelu", x, alpha=1.0),
    "ELU": lambda graph, x: graph.node("Elu", x),
    "Hardsigmoid": lambda graph, x: graph.node("HardSigmoid", x, alpha=1 / 6),
    "Hardswish": lambda graph, x: graph.node("HardSwish", x),
    "Hardtanh": lambda graph, x: _clipped(graph, x, -1.0, 1.0),
    "LeakyReLU": lambda graph, x: graph.node("LeakyRelu", x, alpha=0.01),
    "LogSigmoid": lambda graph, x: graph.node("Log", graph.node("Sigmoid", x)),
    "Mish": lambda graph, x: graph.node("Mul", x, graph.node("Tanh", graph.node("Softplus", x))),
    "ReLU6": lambda graph, x: _clipped(graph, x, 0.0, 6.0),
    "SELU": lambda graph, x: graph.node("Selu", x),
    "Softplus": lambda graph, x: graph.node("Softplus", x),
    "Softsign": lambda graph, x: graph.node("Softsign", x),
    "Tanhshrink": lambda graph, x: graph.node("Sub", x, graph.node("Tanh", x)),
}
_NORM_EPSILON = 1e-5  # torch.nn.LayerNorm
_LEAST_COUNT = 1e-9  # of pooled tokens, as in sentence-transformers


def _clipped(graph: GraphBuilder, value: str, low: float, high: float) -> str:
    bounds = [graph.constant(bound, "FLOAT") for bound in (low, high)]
    return graph.node("Clip", value, *bounds)


def pool(graph: GraphBuilder, tokens: str, mask: str, pooling: Pooling) -> str:
    """Add pooling of (batch, tokens, hidden) to (batch, hidden x modes).

    Pooling follows sentence-transformers. Texts are padded on the right. `mask` is 1 for each token
    that is pooled; without the prompt it begins with zeros.
    """
    has_tokens = pooling.include_prompt and not pooling.may_be_empty
    functions = _POOLINGS if has_tokens else _POOLINGS | _POOLINGS_AFTER_PROMPT
    pooled = [functions[mode](graph, tokens, mask) for mode in pooling.modes]
    return pooled[0] if len(pooled) == 1 else graph.node("Concat", *pooled, axis=-1)


def up_to_last(graph: GraphBuilder, input_ids: str, pad_token_id: int) -> str:
    """Add a mask that is 1 up to the last token of a text that is not the padding token.

    The classifiers of language models in transformers look for that token, even where a text ends
    with a literal padding token.
    """
    pad = graph.constant(pad_token_id, "INT32")
    real = graph.cast(graph.node("Not", graph.node("Equal", input_ids, pad)), "INT32")
    count = graph.node(
        "Squeeze", graph.node("Shape", input_ids, start=1), graph.constant([0], "INT64")
    )
    zero, one = (graph.constant(number, "INT64") for number in (0, 1))
    order = graph.cast(graph.node("Range", zero, count, one), "INT32")
    last = graph.node("ReduceMax", graph.node("Mul", real, order), axes=[1], keepdims=1)
    return graph.cast(graph.node("LessOrEqual", order, last), "INT32")


def apply_steps(
    graph: GraphBuilder,
    weights: Weights,
    values: str,
    steps: Sequence[HeadStep],
    tensors: Mapping[str, Mapping[str, Tensor]],
    width: int | None,
    *,
    of_tokens: bool = False,
) -> str:
    """Add `steps` to `values` of the length `width`, unless unknown.

    `tensors` contains the tensors of each layer by its path, and the tensors of a classifier under
    "". Layers are float32 in any precision, because they are small and their errors go directly
    into the vector.

    Args:
        graph: the graph.
        weights: adds the weights of layers.
        values: the vectors (batch, width), or (batch, tokens, width) `of_tokens`.
        steps: the steps, in order.
        tensors: the tensors of the layers.
        width: the length of the values.
        of_tokens: whether the steps are applied to each token.
    """
    for step in steps:
        if isinstance(step, str):
            values = graph.node("LpNormalization", values, p=2, axis=-1)
        elif isinstance(step, NormLayer):
            values = _layer_norm(graph, weights, values, step, tensors[step.path], width)
        elif isinstance(step, ClassifierNorm):
            values = _classifier_norm(graph, weights, values, step, tensors[""], width)
        elif isinstance(step, TokenScore):
            values = _token_score(graph, weights, values, step, tensors[""], width)
        else:
            width = _check_dense(step, tensors[step.path], width)
            shape = _with_width(graph, values, width) if of_tokens else ""
            rows = values
            if of_tokens:
                columns = tensors[step.path][f"{step.name}.weight"].shape[1]
                rows = graph.node("Reshape", values, graph.constant([-1, columns], "INT64"))
            values = _dense(graph, weights, rows, step, tensors[step.path])
            if of_tokens:
                values = graph.node("Reshape", values, shape)
    return values


def _with_width(graph: GraphBuilder, values: str, width: int) -> str:
    """Add the shape of `values` (batch, tokens, ...) with the last axis `width`."""
    shape = graph.node("Shape", values, start=0, end=2)
    return graph.node("Concat", shape, graph.constant([width], "INT64"), axis=0)


def _check_dense(
    layer: DenseLayer | ClassifierLayer, tensors: Mapping[str, Tensor], width: int | None
) -> int:
    """Return the length of the layer's vectors; raise ModelDamaged if its weights do not fit."""
    where = layer.path or layer.name
    has_bias = _has_bias(layer, tensors)
    for name in [f"{layer.name}.weight", f"{layer.name}.bias"][: 1 + has_bias]:
        if name not in tensors:
            raise ModelDamaged(where, reason=f"no tensor {name}")
    shape = tuple(tensors[f"{layer.name}.weight"].shape)
    if isinstance(layer, DenseLayer) and shape != (layer.out_features, layer.in_features):
        reason = f"out_features {layer.out_features} and in_features {layer.in_features}"
        raise ModelDamaged(where, reason=f"{reason}, weights of shape {shape}")
    if len(shape) != 2 or width not in {None, shape[1]}:
        raise ModelDamaged(where, reason=f"weights of shape {shape} for vectors of length {width}")
    if has_bias and tuple(tensors[f"{layer.name}.bias"].shape) != shape[:1]:
        raise ModelDamaged(where, reason=f"a bias that does not fit weights of shape {shape}")
    return shape[0]


def _dense(
    graph: GraphBuilder,
    weights: Weights,
    rows: str,
    layer: DenseLayer | ClassifierLayer,
    tensors: Mapping[str, Tensor],
) -> str:
    names = [f"{layer.name}.weight", f"{layer.name}.bias"][: 1 + _has_bias(layer, tensors)]
    parts = [weights.whole(tensors[name]) for name in names]
    output = _DENSE_ACTIVATIONS[layer.activation](graph, graph.node("Gemm", rows, *parts, transB=1))
    if isinstance(layer, DenseLayer) and layer.residual:
        return graph.node("Add", output, _residual(graph, weights, rows, layer, tensors))
    return output


def _has_bias(layer: DenseLayer | ClassifierLayer, tensors: Mapping[str, Tensor]) -> bool:
    return f"{layer.name}.bias" in tensors if layer.bias is None else layer.bias


def _residual(
    graph: GraphBuilder,
    weights: Weights,
    rows: str,
    layer: DenseLayer,
    tensors: Mapping[str, Tensor],
) -> str:
    """Return `rows` in the length of the layer's output."""
    if layer.in_features == layer.out_features:
        return rows
    matrix = tensors.get("residual.weight")
    if matrix is None or tuple(matrix.shape) != (layer.out_features, layer.in_features):
        raise ModelDamaged(layer.path, reason="no residual.weight that fits its features")
    return graph.node("Gemm", rows, weights.whole(matrix), transB=1)


def _layer_norm(
    graph: GraphBuilder,
    weights: Weights,
    values: str,
    layer: NormLayer,
    tensors: Mapping[str, Tensor],
    width: int | None,
) -> str:
    found = [tensors.get(name) for name in ("norm.weight", "norm.bias")]
    parts = [weights.whole(t) for t in found if t and tuple(t.shape) == (layer.dimension,)]
    if len(parts) != 2 or width not in {None, layer.dimension}:
        reason = f"no norm of {layer.dimension} for vectors of length {width}"
        raise ModelDamaged(layer.path, reason=reason)
    return graph.node("LayerNormalization", values, *parts, axis=-1, epsilon=_NORM_EPSILON)


def _classifier_norm(
    graph: GraphBuilder,
    weights: Weights,
    values: str,
    layer: ClassifierNorm,
    tensors: Mapping[str, Tensor],
    width: int | None,
) -> str:
    found = [tensors.get(f"{layer.name}.{part}") for part in ("weight", "bias")]
    if found[0] is None or any(t and tuple(t.shape) != (width,) for t in found):
        raise ModelDamaged(layer.name, reason=f"no norm for vectors of length {width}")
    parts = [weights.whole(tensor) for tensor in found if tensor]
    return graph.node("LayerNormalization", values, *parts, axis=-1, epsilon=layer.epsilon)


def _token_score(
    graph: GraphBuilder,
    weights: Weights,
    values: str,
    step: TokenScore,
    tensors: Mapping[str, Tensor],
    width: int | None,
) -> str:
    """Add the score (batch, 1) of a language model's last token.

    Of the output matrix, only the rows of the two tokens are read.
    """
    matrix = next((tensors[name] for name in step.matrices if name in tensors), None)
    rows = max(step.true_token_id, step.false_token_id or 0) + 1
    if matrix is None or len(matrix.shape) != 2 or matrix.shape[0] < rows:
        shape = matrix and matrix.shape
        reason = f"an output matrix of shape {shape}, its score needs {rows} rows"
        raise ModelDamaged(step.matrices[0], reason=reason)
    if matrix.shape[1] != width:
        reason = f"an output matrix of shape {matrix.shape} for vectors of length {width}"
        raise ModelDamaged(step.matrices[0], reason=reason)

    def logit(token: int) -> str:
        return graph.node("Gemm", values, weights.whole(matrix.rows(token, 1)), transB=1)

    score = logit(step.true_token_id)
    if step.false_token_id is None:
        return score
    return graph.node("Sub", score, logit(step.false_token_id))


_VOCABULARY_ROWS = 4096
"""Logits are computed for so many tokens of the vocabulary at a time, and pooled, because those of
all would take 125 MB for a batch of 1024 tokens and BERT's vocabulary."""


def add_splade(
    graph: GraphBuilder,
    weights: Weights,
    tokens: str,
    model: Description,
    tensors: Mapping[str, Tensor],
) -> str:
    """Add a weight (batch, vocabulary) for each token of the vocabulary (Formal et al. 2021)."""
    names = MASKED_HEADS[model.model_type]
    splade = model.pipeline.splade
    assert splade is not None
    layers = Layers(graph, weights, model, tensors)
    decoder = _decoder(model, names, layers, tensors)
    hidden = decoder[0].shape[1]
    rows = graph.node("Reshape", tokens, graph.constant([-1, hidden], "INT64"))
    rows = _transformed(graph, weights, rows, model, names, layers, tensors)
    mask = graph.cast(_as_column(graph, "attention_mask"), "FLOAT")
    pooled = []
    for first in range(0, decoder[0].shape[0], _VOCABULARY_ROWS):
        parts = [each.rows(first, _VOCABULARY_ROWS) for each in decoder]
        logits = graph.node("Gemm", rows, *[weights.whole(part) for part in parts], transB=1)
        positive = graph.node("Relu", logits)
        shape = _with_width(graph, tokens, parts[0].shape[0])
        masked = graph.node("Mul", graph.node("Reshape", positive, shape), mask)
        pooled.append(_splade_pooling(graph, masked, splade))
    return pooled[0] if len(pooled) == 1 else graph.node("Concat", *pooled, axis=-1)


def _splade_pooling(graph: GraphBuilder, masked: str, splade: Splade) -> str:
    """Add pooling of positive logits; the maximum comes first, because logarithms keep order."""
    logarithms = 2 if splade.activation == "log1p_relu" else 1
    if splade.strategy == "max":
        masked = graph.node("ReduceMax", masked, axes=[1], keepdims=0)
    for _ in range(logarithms):
        masked = graph.node("Log", graph.node("Add", masked, graph.constant(1.0, "FLOAT")))
    if splade.strategy == "sum":
        masked = graph.node("ReduceSum", masked, graph.constant([1], "INT64"), keepdims=0)
    return masked


def _transformed(
    graph: GraphBuilder,
    weights: Weights,
    rows: str,
    model: Description,
    names: MaskedHead,
    layers: Layers,
    tensors: Mapping[str, Tensor],
) -> str:
    """Add the dense layer, activation and norm before the decoder."""
    activation = names.activation or str(model.settings["hidden_act"])
    if activation not in ACTIVATIONS:
        raise UnsupportedModel(
            model.folder, feature="activation", got=activation, supported=ACTIVATIONS
        )
    found = {}
    for layer in (names.dense, names.norm):
        parts = [tensors.get(f"{layer}.{part}") for part in ("weight", "bias")]
        if parts[0] is None:
            raise ModelDamaged(model.folder, reason=f"no tensor {layer}.weight")
        found[layer] = [weights.whole(part) for part in parts if part is not None]
    dense = graph.node("Gemm", rows, *found[names.dense], transB=1)
    epsilon = float(model.settings["layer_norm_eps"])
    return graph.node(
        "LayerNormalization",
        layers.activate(activation, dense),
        *found[names.norm],
        axis=-1,
        epsilon=epsilon,
    )


def _decoder(
    model: Description, names: MaskedHead, layers: Layers, tensors: Mapping[str, Tensor]
) -> list[Tensor]:
    """Return the weight of the decoder, by default the embeddings, and its bias if it has one."""
    hidden = int(model.settings["hidden_size"])
    decoder = tensors.get(f"{names.decoder}.weight")
    if decoder is None:
        decoder = layers.tensor(FAMILIES[model.model_type].words, model.dimension, hidden)
    if tuple(decoder.shape) != (model.dimension, hidden):
        reason = f"{names.decoder}.weight has the shape {decoder.shape}"
        raise ModelDamaged(model.folder, reason=f"{reason}, vocab_size is {model.dimension}")
    biases = [tensors[name] for name in names.biases if name in tensors]
    if not biases and not names.needs_bias:
        return [decoder]
    if not biases or tuple(biases[0].shape) != (model.dimension,):
        reason = f"no {names.biases[0]} for {model.dimension} tokens"
        raise ModelDamaged(model.folder, reason=reason)
    return [decoder, biases[0]]


def _cls(graph: GraphBuilder, tokens: str, mask: str) -> str:
    return graph.node("Gather", tokens, graph.constant(0, "INT64"), axis=1)


def _max(graph: GraphBuilder, tokens: str, mask: str) -> str:
    present = graph.cast(_as_column(graph, mask), "BOOL")
    masked = graph.node("Where", present, tokens, graph.constant(float("-inf"), "FLOAT"))
    return graph.node("ReduceMax", masked, axes=[1], keepdims=0)


def _mean(graph: GraphBuilder, tokens: str, mask: str) -> str:
    return graph.node("Div", *_sum_and_count(graph, tokens, mask))


def _mean_sqrt_len(graph: GraphBuilder, tokens: str, mask: str) -> str:
    total, count = _sum_and_count(graph, tokens, mask)
    return graph.node("Div", total, graph.node("Sqrt", count))


def _weighted_mean(graph: GraphBuilder, tokens: str, mask: str) -> str:
    """Add the mean of the tokens, each weighted with its position from 1 on."""
    counted = graph.node("CumSum", mask, graph.constant(1, "INT32"))
    weights = graph.node("Mul", counted, mask)
    return graph.node("Div", *_sum_and_count(graph, tokens, weights))


def _last_token(graph: GraphBuilder, tokens: str, mask: str) -> str:
    length = graph.node("ReduceSum", mask, graph.constant([1], "INT64"), keepdims=1)
    last = graph.node("Sub", length, graph.constant(1, "INT32"))
    return graph.node("GatherND", tokens, graph.cast(last, "INT64"), batch_dims=1)


def _sum_and_count(graph: GraphBuilder, tokens: str, mask: str) -> tuple[str, str]:
    """Add the sum and count of tokens weighted by the mask: mask (1, tokens) @ (tokens, hidden)."""
    axis = graph.constant([1], "INT64")
    floats = graph.cast(mask, "FLOAT")
    total = graph.node("MatMul", graph.node("Unsqueeze", floats, axis), tokens)
    return graph.node("Squeeze", total, axis), graph.node("ReduceSum", floats, axis, keepdims=1)


def _as_column(graph: GraphBuilder, mask: str) -> str:
    return graph.node("Unsqueeze", mask, graph.constant([2], "INT64"))


_POOLINGS: dict[str, Callable[[GraphBuilder, str, str], str]] = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last_token,
}


def _first_after_prompt(graph: GraphBuilder, tokens: str, mask: str) -> str:
    first = graph.node("ArgMax", graph.cast(mask, "FLOAT"), axis=1, keepdims=1)
    return graph.node("GatherND", tokens, first, batch_dims=1)


def _last_after_prompt(graph: GraphBuilder, tokens: str, mask: str) -> str:
    last = graph.node("ReduceMax", _positions(graph, mask), axes=[1], keepdims=1)
    place = graph.cast(graph.node("Sub", last, graph.constant(1.0, "FLOAT")), "INT64")
    row = graph.node("GatherND", tokens, place, batch_dims=1)
    return graph.node("Mul", row, graph.node("Min", last, graph.constant(1.0, "FLOAT")))


def _mean_after_prompt(graph: GraphBuilder, tokens: str, mask: str) -> str:
    total, count = _sum_and_count(graph, tokens, mask)
    return graph.node("Div", total, _at_least_some(graph, count))


def _mean_sqrt_len_after_prompt(graph: GraphBuilder, tokens: str, mask: str) -> str:
    total, count = _sum_and_count(graph, tokens, mask)
    return graph.node("Div", total, graph.node("Sqrt", _at_least_some(graph, count)))


def _weighted_mean_after_prompt(graph: GraphBuilder, tokens: str, mask: str) -> str:
    total, count = _sum_and_count(graph, tokens, _positions(graph, mask))
    return graph.node("Div", total, _at_least_some(graph, count))


def _positions(graph: GraphBuilder, mask: str) -> str:
    """Add the position of each pooled token from 1 on, the prompt counted; 0 for the others."""
    ones = graph.node("Or", graph.cast(mask, "BOOL"), graph.node("Not", graph.cast(mask, "BOOL")))
    counted = graph.node("CumSum", graph.cast(ones, "FLOAT"), graph.constant(1, "INT32"))
    return graph.node("Mul", counted, graph.cast(mask, "FLOAT"))


def _at_least_some(graph: GraphBuilder, count: str) -> str:
    return graph.node("Max", count, graph.constant(_LEAST_COUNT, "FLOAT"))


_POOLINGS_AFTER_PROMPT: dict[str, Callable[[GraphBuilder, str, str], str]] = {
    "cls": _first_after_prompt,
    "mean": _mean_after_prompt,
    "mean_sqrt_len_tokens": _mean_sqrt_len_after_prompt,
    "weightedmean": _weighted_mean_after_prompt,
    "lasttoken": _last_after_prompt,
}
"""Pooling of the tokens after a prompt; a text may have none, if its prompt fills the limit."""
