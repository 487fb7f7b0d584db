"""Token ids to token embeddings: one builder for all families of `families.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.description import Description
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.positions import position_rows, relative_bias
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_FUSED_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("FastGelu", {}),
    "gelu_fast": ("FastGelu", {}),
    "gelu_pytorch_tanh": ("FastGelu", {}),
    "silu": ("QuickGelu", {"alpha": 1.0}),
    "swish": ("QuickGelu", {"alpha": 1.0}),
}
_LEGACY_NAMES = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
_ACTIVATIONS = (*_FUSED_ACTIVATIONS, "relu")


class Encoder:
    """Adds the encoder of `model` to `graph`, `tensors` taken in as `weights` does it."""

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
        self._tensors = tensors
        self._family = FAMILIES[model.model_type]
        self._prefix = self._find_prefix()
        self._hidden = int(model.setting("hidden_size"))
        self._heads = int(model.setting("num_attention_heads"))
        self._epsilon = float(model.setting("layer_norm_eps") or 1e-12)
        self._activation = self._find_activation()

    def tokens(self, input_ids: str, attention_mask: str, token_type_ids: str = "") -> str:
        """Return the token embeddings, float32 (batch, tokens, hidden).

        Without `token_type_ids` every token is of the first text.
        """
        graph = self._graph
        shape = graph.node("Shape", input_ids)
        shape = graph.node("Concat", shape, graph.constant([self._hidden], "INT64"), axis=0)
        self._rows = graph.constant([-1, self._hidden], "INT64")
        bias = self._relative_bias(input_ids)
        hidden = graph.node("Reshape", self._embeddings(input_ids, token_type_ids), self._rows)
        for number in range(int(self._model.setting("num_hidden_layers"))):
            hidden = self._layer(number, hidden, shape, attention_mask, bias)
        return graph.node("Reshape", hidden, shape)

    def _embeddings(self, input_ids: str, token_type_ids: str) -> str:
        graph, name = self._graph, "embeddings."
        words = self._weights.lookup(self._tensor(name + "word_embeddings.weight"), input_ids)
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
        """One post-norm layer over rows of tokens: attention, then feed-forward."""
        graph, family = self._graph, self._family
        prefix = family.layer.format(number)
        heads = [
            graph.node("Reshape", self._linear(prefix + name, hidden, exact=exact), shape)
            for name, exact in ((family.query, False), (family.key, False), (family.value, True))
        ]
        context = graph.fused(
            *("MultiHeadAttention", *heads, "", attention_mask, bias), num_heads=self._heads
        )
        context = graph.node("Reshape", context, self._rows)
        attended = self._linear(prefix + family.attention_output, context)
        hidden = self._add_and_norm(prefix + family.attention_norm, attended, hidden)
        inner = self._activate(self._linear(prefix + family.intermediate, hidden))
        outer = self._linear(prefix + family.output, inner)
        return self._add_and_norm(prefix + family.output_norm, outer, hidden)

    def _linear(self, name: str, rows: str, *, exact: bool = False) -> str:
        weight, bias = self._tensor(f"{name}.weight"), self._tensor(f"{name}.bias")
        return self._weights.linear(name, rows, weight, bias, exact=exact)

    def _add_and_norm(self, name: str, value: str, residual: str, row: str = "") -> str:
        """The layer normalisation of value + residual + `row`, the last for every token."""
        inputs = [value, residual, self._weight(f"{name}.weight"), self._weight(f"{name}.bias")]
        inputs += [row] if row else []  # OpenVINO does not take an empty name for none
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
            buckets=int(self._model.config.get("relative_attention_num_buckets", 32)),
            positions=int(self._model.setting("max_position_embeddings")),
        )

    def _weight(self, name: str) -> str:
        return self._weights.whole(self._tensor(name))

    def _tensor(self, name: str) -> Tensor:
        tensor = self._tensors.get(self._prefix + name)
        for new, old in _LEGACY_NAMES:
            tensor = tensor or self._tensors.get(self._prefix + name.replace(new, old))
        if tensor is None:
            raise ModelDamaged(self._model.folder, reason=f"no tensor {self._prefix + name}")
        return tensor

    def _find_prefix(self) -> str:
        marker = "embeddings.word_embeddings.weight"
        for prefix in self._family.prefixes:
            if prefix + marker in self._tensors:
                return prefix
        raise ModelDamaged(self._model.folder, reason=f"no tensor {marker} in its weights")

    def _find_activation(self) -> str:
        name = str(self._model.setting("hidden_act") or "gelu")
        positions = self._model.config.get("position_embedding_type") or "absolute"
        for feature, got, supported in (
            ("activation", name, _ACTIVATIONS),
            ("position embedding", positions, ("absolute",)),
        ):
            if got not in supported:
                raise UnsupportedModel(
                    self._model.folder, feature=feature, got=got, supported=supported
                )
        return name
