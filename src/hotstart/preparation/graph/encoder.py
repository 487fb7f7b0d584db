"""The transformer encoder of every family as graph nodes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from hotstart.errors import ModelDamaged, UnsupportedModel
from hotstart.models.architectures import FAMILIES, Part, has_experts, is_local
from hotstart.models.description import Description
from hotstart.preparation.graph.attention import CHUNK, Attention, Bias
from hotstart.preparation.graph.builder import GraphBuilder
from hotstart.preparation.graph.disentangled import DisentangledPositions
from hotstart.preparation.graph.experts import MixtureOfExperts
from hotstart.preparation.graph.layers import ACTIVATIONS, Layers
from hotstart.preparation.graph.positions import (
    Rotation,
    linear_bias,
    position_rows,
    relative_bias,
    rotate,
    rotation_speeds,
    rotation_tables,
)
from hotstart.preparation.graph.weights import Weights
from hotstart.safetensors import Tensor

_POSITIONS = "embeddings.position_embeddings.weight"
_SEGMENTS = "embeddings.token_type_embeddings.weight"
_LARGEST_TABLE = 65_536  # numbers of a table that is made from a setting alone


class Encoder:
    """Adds the transformer encoder of `model` to `graph`.

    Attributes:
        hidden: the length of a token's embedding.
        rows: the number of tokens that have an embedding.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        weights: Weights,
        model: Description,
        tensors: Mapping[str, Tensor],
    ) -> None:
        self._graph = graph
        self._model = model
        self._settings = model.settings
        self._family = FAMILIES[model.model_type]
        self._refuse_settings()
        self._layers = Layers(graph, weights, model, tensors)
        self.hidden = int(self._settings["hidden_size"])
        self.rows = sum(self._words_shape()[:1])
        self._heads = int(self._settings["num_attention_heads"])
        self._key_heads = int(self._settings.get("num_key_value_heads") or self._heads)
        self._size = int(self._settings.get("head_dim") or self.hidden // max(1, self._heads))

    def tokens(self, input_ids: str, attention_mask: str, token_type_ids: str = "") -> str:
        """Return the token embeddings, float32 (batch, tokens, hidden).

        Without `token_type_ids` every token belongs to the first text.
        """
        graph = self._graph
        self._batch = graph.node("Shape", input_ids)
        rows = graph.constant([-1, self.hidden], "INT64")
        hidden = graph.node("Reshape", self._embeddings(input_ids, token_type_ids), rows)
        self._disentangled = None
        if self._family.positions == "disentangled":
            self._disentangled = DisentangledPositions(
                graph, self._layers, self._family, self._model, input_ids
            )
        kinds: dict[bool, tuple[Attention, Rotation | None]] = {}
        for number in range(int(self._settings["num_hidden_layers"])):
            local = is_local(self._settings, number)
            if local not in kinds:
                kinds[local] = self._attention(local), self._rotation(input_ids, local)
            attention, rotation = kinds[local]
            hidden = self._layer(number, hidden, attention_mask, attention, rotation)
        if self._family.final_norm is not None:
            hidden = self._layers.norm(self._family.final_norm, hidden, self.hidden)
        return graph.node("Reshape", hidden, self._shape(self.hidden))

    def _embeddings(self, input_ids: str, token_type_ids: str) -> str:
        graph = self._graph
        family = self._family
        words = self._layers.lookup(family.words, input_ids, self.rows, self.hidden)
        if family.scaled_embeddings:
            words = graph.node("Mul", words, graph.constant(self.hidden**0.5, "FLOAT"))
        segment = ""
        kinds = int(self._settings["type_vocab_size"])
        if self._layers.has(_SEGMENTS) or (family.segments and kinds > 0):
            table = self._layers.whole(_SEGMENTS, kinds, self.hidden)
            if token_type_ids:
                words = graph.node("Add", words, graph.node("Gather", table, token_type_ids))
            else:  # row 0 for every token
                segment = graph.node("Gather", table, graph.constant(0, "INT64"))
        if family.positions in {"absolute", "after padding"}:
            assert family.embedding_norm is not None
            limit = int(self._settings["max_position_embeddings"])
            table = self._layers.whole(_POSITIONS, limit, self.hidden)
            pad = self._model.pad_token_id if family.positions == "after padding" else None
            positions = position_rows(graph, input_ids, table, pad)
            return self._layers.add_and_norm(
                family.embedding_norm, words, positions, self.hidden, segment
            )
        if self._settings.get("position_biased_input"):
            limit = int(self._settings["max_position_embeddings"])
            table = self._layers.whole(_POSITIONS, limit, self.hidden)
            words = graph.node("Add", words, position_rows(graph, input_ids, table, None))
        if segment:
            words = graph.node("Add", words, segment)
        if family.embedding_norm is None:
            return words
        return self._layers.norm(family.embedding_norm, words, self.hidden)

    def _layer(
        self,
        number: int,
        hidden: str,
        attention_mask: str,
        attention: Attention,
        rotation: Rotation | None,
    ) -> str:
        """Add a layer over rows of tokens: attention, then the feed-forward network."""
        family = self._family
        prefix = family.layer.format(number)
        inner = hidden
        if family.norm_first and (number > 0 or family.first_norm):
            inner = self._layers.norm(prefix + family.attention_norm, hidden, self.hidden)
        attended = self._attended(prefix, inner, attention_mask, attention, rotation)
        norm = family.attention_norm
        if family.second_norm is not None:
            attended = self._layers.add_and_norm(prefix + norm, attended, hidden, self.hidden)
            norm = family.second_norm
        hidden = self._add(prefix, norm, family.attention_output_norm, attended, hidden)
        inner = hidden
        if family.norm_first:
            inner = self._layers.norm(prefix + family.output_norm, hidden, self.hidden)
        if has_experts(self._settings, number):
            fed = self._mixture(prefix, inner)
        else:
            fed = self._feed_forward(prefix, inner)
        return self._add(prefix, family.output_norm, family.feed_forward_output_norm, fed, hidden)

    def _add(
        self, prefix: str, norm: str, output_norm: str | None, value: str, residual: str
    ) -> str:
        """Add the sum of `value` and `residual`, and the norm after it, if it comes after it."""
        if output_norm is not None:
            value = self._layers.norm(prefix + output_norm, value, self.hidden)
        if self._family.norm_first:
            return self._graph.node("Add", value, residual)
        return self._layers.add_and_norm(prefix + norm, value, residual, self.hidden)

    def _attended(
        self,
        prefix: str,
        rows: str,
        attention_mask: str,
        attention: Attention,
        rotation: Rotation | None,
    ) -> str:
        family = self._family
        width = self._heads * self._size
        inputs = []
        for name, norm, heads, turns in (
            (family.query, family.query_norm, self._heads, True),
            (family.key, family.key_norm, self._key_heads, True),
            (family.value, None, self._key_heads, False),
        ):
            projected = self._layers.linear(
                _within(prefix, name),
                rows,
                heads * self._size,
                self.hidden,
                exact=name is family.value,
            )
            if norm is not None and family.joined_heads:
                projected = self._layers.norm(prefix + norm, projected, heads * self._size)
            of_head = None if family.joined_heads else norm
            if of_head is not None or (turns and rotation is not None) or heads != self._heads:
                projected = self._graph.node("Reshape", projected, self._shape(heads, self._size))
                if of_head is not None:
                    projected = self._layers.norm(prefix + of_head, projected, self._size)
                if turns and rotation is not None:
                    projected = rotate(self._graph, projected, rotation, self._size)
                if heads != self._heads:
                    projected = self._repeated(projected)
            inputs.append(self._graph.node("Reshape", projected, self._shape(width)))
        query, key, value = inputs
        bias = ""
        if self._disentangled is not None:
            bias = self._disentangled.bias(prefix, query, key)
        context = attention.add(query, key, value, attention_mask, bias)
        context = self._graph.node("Reshape", context, self._graph.constant([-1, width], "INT64"))
        return self._layers.linear(prefix + family.attention_output, context, self.hidden, width)

    def _repeated(self, heads: str) -> str:
        """Add each head as many times as there are queries for it."""
        graph = self._graph
        times = graph.constant([1, 1, 1, self._heads // self._key_heads, 1], "INT64")
        column = graph.node("Unsqueeze", heads, graph.constant([3], "INT64"))
        return graph.node("Tile", column, times)

    def _mixture(self, prefix: str, rows: str) -> str:
        assert self._family.experts is not None
        mixture = MixtureOfExperts(
            self._graph,
            self._layers,
            self._family.experts,
            int(self._settings["num_experts"]),
            int(self._settings["moe_top_k"]),
        )
        activate = partial(self._layers.activate, str(self._settings["hidden_act"]))
        return mixture.add(prefix, rows, self.hidden, activate)

    def _feed_forward(self, prefix: str, rows: str) -> str:
        family = self._family
        activation = str(self._settings["hidden_act"])
        is_gated = family.gate is not None
        name = _within(prefix, family.intermediate)
        ungated = prefix + (family.ungated or "")
        if not activation.startswith("gated-") and self._layers.has(f"{ungated}.weight"):
            is_gated = False
            name = ungated
        width = sum(self._layers.shape(name)[:1])
        inner = self._layers.linear(name, rows, width, self.hidden)
        if not is_gated or family.gate is None:
            inner = self._layers.activate(activation, inner)
        else:
            gate = self._layers.linear(_within(prefix, family.gate), rows, width, self.hidden)
            inner = self._graph.node("Mul", inner, self._layers.activate(activation, gate))
        return self._layers.linear(prefix + family.output, inner, self.hidden, width)

    def _attention(self, local: bool) -> Attention:
        """Return the attention of the local layers, or of all others."""
        settings = self._settings
        before: int | None = None
        after: int | None = None
        window = int(settings["sliding_window"]) if local else 0
        if settings.get("is_causal") and not settings.get("use_bidirectional_attention"):
            before = window - 1 if local else None
            after = 0
        elif local:  # a causal model made bidirectional has its window on either side
            before = after = window if settings.get("is_causal") is False else window // 2
        scalar = settings.get("query_pre_attn_scalar")
        scale = 1.0 if self._family.unscaled_attention else None
        if self._disentangled is not None:
            scale = self._disentangled.scale
        return Attention(
            self._graph,
            self._heads,
            self._heads * self._size,
            before=before,
            after=after,
            scale=scalar**-0.5 if scalar else scale,
            bias=self._bias(),
            chunked=self._model.max_seq_length > CHUNK and self._disentangled is None,
        )

    def _bias(self) -> Bias | None:
        if self._family.positions == "alibi":
            return partial(linear_bias, self._graph, heads=self._heads)
        if self._family.relative_bias is None:
            return None
        buckets = int(self._settings["relative_attention_num_buckets"])
        return partial(
            relative_bias,
            self._graph,
            table=self._layers.whole(self._family.relative_bias, buckets, self._heads),
            buckets=buckets,
            farthest=int(self._settings.get("relative_attention_max_distance", 128)),
        )

    def _rotation(self, input_ids: str, local: bool) -> Rotation | None:
        """Return the rotation of the local layers, or of all others; None without one."""
        settings = self._settings
        if self._family.positions != "rotary":
            return None
        base = float(settings["rope_theta"])
        scaling = settings
        if local and settings.get("local_rope_theta"):
            base = float(settings["local_rope_theta"])
            scaling = settings | {"rope_type": "default"}
        return rotation_tables(self._graph, input_ids, rotation_speeds(self._size, base, scaling))

    def _shape(self, *last: int) -> str:
        """Add the shape (batch, tokens, *last)."""
        return self._graph.node("Concat", self._batch, self._graph.constant(last, "INT64"), axis=0)

    def _words_shape(self) -> tuple[int, ...]:
        return self._layers.shape(self._family.words.removesuffix(".weight"))

    def check(self) -> None:
        """Raise ModelDamaged if config.json contradicts itself or the embeddings."""
        model = self._model
        heads = f"{self._heads} heads of {self._size}, {self._key_heads} of keys"
        words = self._words_shape()
        # As in PyTorch, a negative token counts from the end; -1 is common for none.
        first_pad = -1 if self._family.positions == "after padding" else -self.rows
        own_size = "head_dim" in self._settings and self._settings["head_dim"]
        for fact, is_right in (
            (
                f"hidden_size {self.hidden}, embeddings of shape {words}",
                words[1:] == (self.hidden,),
            ),
            (
                f"num_attention_heads {self._heads} for a hidden_size of {self.hidden}",
                self._heads > 0 and (own_size or self.hidden % self._heads == 0),
            ),
            (
                heads,
                self._size > 0 and self._key_heads > 0 and self._heads % self._key_heads == 0,
            ),
            *(
                (f"{name} {value}", value <= _LARGEST_TABLE)
                for name, value in (
                    ("head_dim", self._size),
                    (
                        "relative_attention_max_distance",
                        int(self._settings.get("relative_attention_max_distance", 0)),
                    ),
                    (
                        "max_position_embeddings",
                        model.max_seq_length if self._family.positions == "disentangled" else 0,
                    ),
                )
            ),
            (
                f"rotary positions for heads of {self._size}",
                self._family.positions != "rotary" or self._size % 2 == 0,
            ),
            (
                f"pad_token_id {model.pad_token_id} of {self.rows} tokens",
                first_pad <= model.pad_token_id < self.rows,
            ),
            (
                f"moe_top_k {self._settings.get('moe_top_k')}",
                not self._settings.get("num_experts")
                or 0 < self._settings["moe_top_k"] <= self._settings["num_experts"],
            ),
        ):
            if not is_right:
                raise ModelDamaged(model.folder, reason=f"config.json has {fact}")

    def _refuse_settings(self) -> None:
        """Raise UnsupportedModel for a setting that the graph does not follow."""
        known = {"hidden_act": ACTIVATIONS, "position_embedding_type": ("absolute",)}
        for name, supported in (known | self._family.supported).items():
            got = self._settings[name]
            if got not in supported:
                feature = _FEATURES.get(name) or name
                values = tuple(map(str, supported))
                raise UnsupportedModel(
                    self._model.folder, feature=feature, got=got, supported=values
                )


_FEATURES = {"hidden_act": "activation", "position_embedding_type": "position embedding"}
"""Names of settings in messages."""


def _within(prefix: str, name: str | Part) -> str | Part:
    """Return `name` within the layer `prefix`."""
    return prefix + name if isinstance(name, str) else name._replace(name=prefix + name.name)
