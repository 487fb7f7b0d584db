"""The encoder with rotary positions as graph nodes: nomic_bert.

A post-norm encoder like BERT's without biases, with rotary positions (Su et al. 2021) instead of a
table, and a gated feed-forward layer: `down(up(x) * silu(gate(x)))` (Nussbaum et al. 2024,
transformers' `NomicBertModel`). The rotation is built of plain operators: OpenVINO computes ONNX
Runtime's `RotaryEmbedding` over three axes wrongly.
"""

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

_SEGMENTS = "embeddings.token_type_embeddings.weight"
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("silu", "swiglu"),
    "rope_type": ("default",),
    "rotary_emb_fraction": (1.0,),
    "rotary_emb_interleaved": (False,),
    "rotary_scaling_factor": (0.0,),
    "prenorm": (False,),
    "use_rms_norm": (False,),
    "num_experts": (0,),
}


def rotation_tables(graph: GraphBuilder, input_ids: str, size: int, base: float) -> tuple[str, str]:
    """Add cosines and sines (tokens, 1, size / 2) of the rotation of each position."""
    import numpy as np

    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    speeds = (1.0 / np.float32(base) ** exponents).astype(np.float32)
    count = graph.node("Shape", input_ids, start=1)
    length = graph.node("Squeeze", count, graph.constant([0], "INT64"))
    zero, one = (graph.constant(number, "INT64") for number in (0, 1))
    positions = graph.cast(graph.node("Range", zero, length, one), "FLOAT")
    column = graph.node("Unsqueeze", positions, graph.constant([1, 2], "INT64"))
    angles = graph.node("Mul", column, graph.constant(speeds.tolist(), "FLOAT"))
    return graph.node("Cos", angles), graph.node("Sin", angles)


class RotaryEncoder:
    """Adds the transformer encoder of `model` to `graph`; see `encoder.Encoder`.

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
        self._refuse_settings()
        self._tensors = EncoderTensors(model, tensors, self._family.prefixes)
        self.hidden = int(model.settings["hidden_size"])
        self._heads = int(model.settings["num_attention_heads"])
        self._layers = int(model.settings["num_hidden_layers"])
        self._epsilon = float(model.settings["layer_norm_eps"])

    def tokens(self, input_ids: str, attention_mask: str) -> str:
        """Return the token embeddings, float32 (batch, tokens, hidden)."""
        graph = self._graph
        size = self.hidden // self._heads
        base = float(self._model.settings["rope_theta"])
        self._tables = rotation_tables(graph, input_ids, size, base)
        batch = graph.node("Shape", input_ids)
        self._rows = graph.constant([-1, self.hidden], "INT64")
        self._whole = graph.node("Concat", batch, graph.constant([self.hidden], "INT64"), axis=0)
        heads = graph.constant([self._heads, size], "INT64")
        self._split = graph.node("Concat", batch, heads, axis=0)
        hidden = graph.node("Reshape", self._embeddings(input_ids), self._rows)
        for number in range(self._layers):
            hidden = self._layer(self._family.layer.format(number), hidden, attention_mask)
        return graph.node("Reshape", hidden, self._whole)

    def _embeddings(self, input_ids: str) -> str:
        graph = self._graph
        words = self._weights.lookup(self._tensors[WORDS], input_ids)
        if self._tensors.get(_SEGMENTS):  # row 0: every token is of one text
            table = self._weights.whole(self._tensors[_SEGMENTS])
            row = graph.node("Gather", table, graph.constant(0, "INT64"))
            words = graph.node("Add", words, row)
        norm = [self._weights.whole(self._tensors[f"emb_ln.{part}"]) for part in ("weight", "bias")]
        return graph.node("LayerNormalization", words, *norm, axis=-1, epsilon=self._epsilon)

    def _layer(self, prefix: str, hidden: str, attention_mask: str) -> str:
        """Add a post-norm layer over rows of tokens: attention, then feed-forward."""
        graph = self._graph
        joined = self._linear(f"{prefix}attn.Wqkv", hidden)
        thirds = graph.constant([self.hidden] * 3, "INT64")
        query = graph.node("Split", joined, thirds, axis=-1, outputs=3)
        context = graph.fused(
            "MultiHeadAttention",
            self._rotated(query),
            self._rotated(f"{query}_1"),
            graph.node("Reshape", f"{query}_2", self._whole),
            "",
            attention_mask,
            num_heads=self._heads,
        )
        attended = self._linear(
            f"{prefix}attn.out_proj", graph.node("Reshape", context, self._rows)
        )
        hidden = self._add_and_norm(f"{prefix}norm1", attended, hidden)
        gate = graph.fused("QuickGelu", self._linear(f"{prefix}mlp.fc12", hidden), alpha=1.0)
        inner = graph.node("Mul", self._linear(f"{prefix}mlp.fc11", hidden), gate)
        outer = self._linear(f"{prefix}mlp.fc2", inner)
        return self._add_and_norm(f"{prefix}norm2", outer, hidden)

    def _rotated(self, rows: str) -> str:
        """Return rows of queries or keys, rotated by their positions: (batch, tokens, hidden)."""
        graph = self._graph
        cosines, sines = self._tables
        half = self.hidden // self._heads // 2
        heads = graph.node("Reshape", rows, self._split)
        halves = graph.constant([half, half], "INT64")
        left = graph.node("Split", heads, halves, axis=-1, outputs=2)
        right = f"{left}_1"
        turned = [
            graph.node("Sub", graph.node("Mul", left, cosines), graph.node("Mul", right, sines)),
            graph.node("Add", graph.node("Mul", right, cosines), graph.node("Mul", left, sines)),
        ]
        return graph.node("Reshape", graph.node("Concat", *turned, axis=-1), self._whole)

    def _linear(self, name: str, rows: str) -> str:
        bias = self._tensors.get(f"{name}.bias")
        return self._weights.linear(name, rows, self._tensors[f"{name}.weight"], bias)

    def _add_and_norm(self, name: str, value: str, residual: str) -> str:
        norm = [self._weights.whole(self._tensors[f"{name}.{part}"]) for part in ("weight", "bias")]
        inputs = [value, residual, *norm]
        return self._graph.fused("SkipLayerNormalization", *inputs, epsilon=self._epsilon)

    def check(self, largest_token: int) -> None:
        """Raise ModelDamaged if the weights have other shapes than config.json says.

        Args:
            largest_token: the largest id that the tokenizer gives.
        """
        model = self._model
        hidden = self.hidden
        words = tuple(self._tensors[WORDS].shape)
        rows = sum(words[:1])
        if words[1:] != (hidden,):
            reason = f"config.json has hidden_size {hidden}, embeddings of shape {words}"
            raise ModelDamaged(model.folder, reason=reason)
        size = int(model.settings["head_dim"]) or hidden // max(1, self._heads)
        if self._heads < 1 or size % 2 or size * self._heads != hidden:
            reason = f"config.json has {self._heads} heads of {size} for a hidden_size of {hidden}"
            raise ModelDamaged(model.folder, reason=reason)
        if not 0 <= model.pad_token_id < rows or largest_token >= rows:
            reason = f"it has tokens up to {max(largest_token, model.pad_token_id)}, {rows} rows"
            raise ModelDamaged(model.folder, reason=reason)
        self._tensors.check(self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the expected shape of each weight, and of each bias that is there."""
        hidden = self.hidden
        shapes: dict[str, tuple[int, ...]] = {}
        norms = ["emb_ln"]
        for number in range(self._layers):
            prefix = self._family.layer.format(number)
            inner = sum(self._tensors[f"{prefix}mlp.fc11.weight"].shape[:1])
            norms += [f"{prefix}norm1", f"{prefix}norm2"]
            for name, rows, columns in (
                ("attn.Wqkv", 3 * hidden, hidden),
                ("attn.out_proj", hidden, hidden),
                ("mlp.fc11", inner, hidden),
                ("mlp.fc12", inner, hidden),
                ("mlp.fc2", hidden, inner),
            ):
                shapes[f"{prefix}{name}.weight"] = (rows, columns)
                if self._tensors.get(f"{prefix}{name}.bias"):
                    shapes[f"{prefix}{name}.bias"] = (rows,)
        for name in norms:
            shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (hidden,)
        if segments := self._tensors.get(_SEGMENTS):
            shapes[_SEGMENTS] = (max(1, sum(segments.shape[:1])), hidden)
        return shapes

    def _refuse_settings(self) -> None:
        """Raise UnsupportedModel for a setting that this encoder does not have."""
        for name, supported in _SUPPORTED.items():
            got = self._model.settings[name]
            if got not in supported:
                known = tuple(map(str, supported))
                raise UnsupportedModel(self._model.folder, feature=name, got=got, supported=known)
