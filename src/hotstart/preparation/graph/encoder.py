"""The transformer encoder and its positions as graph nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.description import Description
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.tensors import WORDS, EncoderTensors
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_MAX_DISTANCE = 128  # larger distances share one bucket (transformers' MPNetEncoder)


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
    graph: GraphBuilder, input_ids: str, table: str, *, buckets: int, positions: int
) -> str:
    """Add the attention bias (1, heads, tokens, tokens) from `table` (buckets, heads)."""
    count = graph.node("Shape", input_ids, start=1)
    length = graph.node("Squeeze", count, graph.constant([0], "INT64"))
    zero = graph.constant(0, "INT64")
    one = graph.constant(1, "INT64")
    positions_row = graph.node("Range", zero, length, one)
    positions_column = graph.node("Unsqueeze", positions_row, graph.constant([1], "INT64"))
    distance = graph.node("Sub", positions_row, positions_column)
    offset = graph.constant(positions - 1, "INT64")
    bucket_of = graph.constant(distance_buckets(buckets, positions), "INT64")
    bucket = graph.node("Gather", bucket_of, graph.node("Add", distance, offset))
    bias = graph.node("Transpose", graph.node("Gather", table, bucket), perm=[2, 0, 1])
    return graph.node("Unsqueeze", bias, graph.constant([0], "INT64"))


def distance_buckets(buckets: int, positions: int) -> list[int]:
    """Return the bucket of each distance from 1 - positions to positions - 1.

    The buckets follow T5 (Raffel et al. 2020, section 2.1): half of them for preceding tokens, half
    for following tokens, one bucket per small distance, and a logarithmic scale for larger
    distances. They are computed in float32, as in training.
    """
    import numpy as np

    behind = -np.arange(1 - positions, positions)
    half = buckets // 2
    exact = buckets // 4
    n = np.abs(behind)
    ratio = np.log(np.maximum(n, 1).astype(np.float32) / exact) / np.log(_MAX_DISTANCE / exact)
    large = exact + (ratio.astype(np.float32) * (half - exact)).astype(np.int64)
    bucket = np.where(n < exact, n, np.minimum(large, half - 1))
    return [int(b) for b in bucket + (behind < 0) * half]


_FUSED_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("FastGelu", {}),
    "gelu_fast": ("FastGelu", {}),
    "gelu_pytorch_tanh": ("FastGelu", {}),
    "silu": ("QuickGelu", {"alpha": 1.0}),
    "swish": ("QuickGelu", {"alpha": 1.0}),
}
_HIDDEN_ACTIVATIONS = (*_FUSED_ACTIVATIONS, "relu")


class Encoder:
    """Adds the transformer encoder of `model` to `graph`.

    Attributes:
        hidden: the length of a token's embedding.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        weights: Weights,
        model: Description,
        tensors: Mapping[str, Tensor],
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._model = model
        self._family = FAMILIES[model.model_type]
        self._tensors = EncoderTensors(model, tensors, self._family.prefixes)
        self.hidden = int(model.settings["hidden_size"])
        self._heads = int(model.settings["num_attention_heads"])
        self._epsilon = float(model.settings["layer_norm_eps"])
        self._activation = self._find_activation()

    def tokens(self, input_ids: str, attention_mask: str, token_type_ids: str = "") -> str:
        """Return the token embeddings, float32 (batch, tokens, hidden).

        Without `token_type_ids` every token belongs to the first text.
        """
        graph = self._graph
        shape = graph.node("Shape", input_ids)
        shape = graph.node("Concat", shape, graph.constant([self.hidden], "INT64"), axis=0)
        self._rows = graph.constant([-1, self.hidden], "INT64")
        bias = self._relative_bias(input_ids)
        hidden = graph.node("Reshape", self._embeddings(input_ids, token_type_ids), self._rows)
        for number in range(int(self._model.settings["num_hidden_layers"])):
            hidden = self._layer(number, hidden, shape, attention_mask, bias)
        return graph.node("Reshape", hidden, shape)

    def _embeddings(self, input_ids: str, token_type_ids: str) -> str:
        graph = self._graph
        name = "embeddings."
        words = self._weights.lookup(self._tensors[WORDS], input_ids)
        pad = self._model.pad_token_id if self._family.positions_after_padding else None
        table = self._weight(name + "position_embeddings.weight")
        segment = ""
        if self._family.segments:
            rows = self._weight(name + "token_type_embeddings.weight")
            if token_type_ids:
                words = graph.node("Add", words, graph.node("Gather", rows, token_type_ids))
            else:  # row 0 for every token
                segment = graph.node("Gather", rows, graph.constant(0, "INT64"))
        return self._add_and_norm(
            name + "LayerNorm", words, position_rows(graph, input_ids, table, pad), segment
        )

    def _layer(self, number: int, hidden: str, shape: str, attention_mask: str, bias: str) -> str:
        """Add a post-norm layer over rows of tokens: attention, then feed-forward."""
        graph = self._graph
        family = self._family
        prefix = family.layer.format(number)
        heads = [
            graph.node("Reshape", self._linear(prefix + name, hidden, exact=exact), shape)
            for name, exact in ((family.query, False), (family.key, False), (family.value, True))
        ]
        query, key, value = heads
        context = graph.fused(
            "MultiHeadAttention",
            query,
            key,
            value,
            "",
            attention_mask,
            bias,
            num_heads=self._heads,
        )
        context = graph.node("Reshape", context, self._rows)
        attended = self._linear(prefix + family.attention_output, context)
        hidden = self._add_and_norm(prefix + family.attention_norm, attended, hidden)
        inner = self._activate(self._linear(prefix + family.intermediate, hidden))
        outer = self._linear(prefix + family.output, inner)
        return self._add_and_norm(prefix + family.output_norm, outer, hidden)

    def _linear(self, name: str, rows: str, *, exact: bool = False) -> str:
        weight = self._tensors[f"{name}.weight"]
        bias = self._tensors[f"{name}.bias"]
        return self._weights.linear(name, rows, weight, bias, exact=exact)

    def _add_and_norm(self, name: str, value: str, residual: str, row: str = "") -> str:
        """Add the layer normalisation of value + residual + `row`; `row` applies to every token."""
        inputs = [value, residual, self._weight(f"{name}.weight"), self._weight(f"{name}.bias")]
        if row:  # OpenVINO does not accept an empty name for an omitted input
            inputs.append(row)
        return self._graph.fused("SkipLayerNormalization", *inputs, epsilon=self._epsilon)

    def _activate(self, value: str) -> str:
        if self._activation == "relu":
            return self._graph.node("Relu", value)
        operator, attributes = _FUSED_ACTIVATIONS[self._activation]
        return self._graph.fused(operator, value, **attributes)

    def _relative_bias(self, input_ids: str) -> str:
        if self._family.relative_bias is None:
            return ""
        return relative_bias(
            self._graph,
            input_ids,
            self._weight(self._family.relative_bias),
            buckets=int(self._model.settings["relative_attention_num_buckets"]),
            positions=int(self._model.settings["max_position_embeddings"]),
        )

    def _weight(self, name: str) -> str:
        return self._weights.whole(self._tensors[name])

    def check(self, largest_token: int) -> None:
        """Raise ModelDamaged if the weights have other shapes than config.json says.

        Args:
            largest_token: the largest id that the tokenizer gives.
        """
        model = self._model
        hidden = self.hidden
        words = tuple(self._tensors[WORDS].shape)
        positions = tuple(self._tensors["embeddings.position_embeddings.weight"].shape)
        limit = int(model.settings["max_position_embeddings"])
        rows = sum(words[:1])
        for fact, is_right in (
            (f"hidden_size {hidden}, embeddings of shape {words}", words[1:] == (hidden,)),
            (
                f"max_position_embeddings {limit}, positions of shape {positions}",
                positions == (limit, hidden),
            ),
            (
                f"num_attention_heads {self._heads} for a hidden_size of {hidden}",
                self._heads > 0 and hidden % self._heads == 0,
            ),
            (
                f"pad_token_id {model.pad_token_id} of {rows} tokens",
                0 <= model.pad_token_id < rows,
            ),
        ):
            if not is_right:
                raise ModelDamaged(model.folder, reason=f"config.json has {fact}")
        if largest_token >= rows:
            reason = f"its tokenizer has token {largest_token}, its embeddings {rows} rows"
            raise ModelDamaged(model.folder, reason=reason)
        self._check_layers()

    def _check_layers(self) -> None:
        """Raise ModelDamaged if a layer, a norm or a table has another shape."""
        family = self._family
        hidden = self.hidden
        shapes: dict[str, tuple[int, ...]] = {
            f"embeddings.LayerNorm.{part}": (hidden,) for part in ("weight", "bias")
        }
        for number in range(int(self._model.settings["num_hidden_layers"])):
            prefix = family.layer.format(number)
            inner = sum(self._tensors[f"{prefix}{family.intermediate}.bias"].shape[:1])
            for name, rows, columns in (
                (family.query, hidden, hidden),
                (family.key, hidden, hidden),
                (family.value, hidden, hidden),
                (family.attention_output, hidden, hidden),
                (family.intermediate, inner, hidden),
                (family.output, hidden, inner),
            ):
                shapes[f"{prefix}{name}.weight"] = (rows, columns)
                shapes[f"{prefix}{name}.bias"] = (rows,)
            for name in (family.attention_norm, family.output_norm):
                shapes[f"{prefix}{name}.weight"] = shapes[f"{prefix}{name}.bias"] = (hidden,)
        if family.segments:
            rows = int(self._model.settings["type_vocab_size"])
            shapes["embeddings.token_type_embeddings.weight"] = (rows, hidden)
        if family.relative_bias is not None:
            buckets = int(self._model.settings["relative_attention_num_buckets"])
            shapes[family.relative_bias] = (buckets, self._heads)
        self._tensors.check(shapes)

    def _find_activation(self) -> str:
        name = str(self._model.settings["hidden_act"])
        positions = self._model.settings["position_embedding_type"]
        for feature, got, supported in (
            ("activation", name, _HIDDEN_ACTIVATIONS),
            ("position embedding", positions, ("absolute",)),
        ):
            if got not in supported:
                raise UnsupportedModel(
                    self._model.folder, feature=feature, got=got, supported=supported
                )
        return name
