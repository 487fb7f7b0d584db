"""Encoder architectures, as data.

Every family is a transformer (Vaswani et al. 2017). The families differ in tensor names, in norms,
in how positions are told, and in which tokens see each other; `Family` lists these differences with
BERT's (Devlin et al. 2018) as defaults. The graph of every family is built by one encoder
(`preparation.graph.encoder`). The file is long because it is one table: a family is read beside
those that it resembles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from hotstart.models.modules import ClassifierLayer, ClassifierNorm


class Part(NamedTuple):
    """A linear layer whose weights are one of several equal parts of a tensor's rows."""

    name: str
    number: int
    parts: int


class Experts(NamedTuple):
    """Names of the tensors of a mixture of experts, which stands for a feed-forward network.

    The matrices of all experts are stored as one, those of `output` as (in, out).
    """

    router: str
    intermediate: str
    output: str
    bias: str


@dataclass(frozen=True)
class Family:
    """Names of tensors and settings in one architecture.

    A layer is attention and a feed-forward network. A norm follows the sum with the layer's input
    (as in BERT), or precedes attention and the network (`norm_first`, as in torch.nn). With a
    `gate` the network is gated: output(act(gate(x)) * intermediate(x)) (Shazeer 2020).

    Attributes:
        prefixes: possible prefixes of all tensor names; a model with a head saves one.
        words: the tensor of the token embeddings.
        layer: the prefix of a layer, with a placeholder for the layer number.
        embedding_norm: the norm of the embeddings, unless None.
        query_norm: the norm of each head of the queries, unless None; `key_norm` likewise.
        joined_heads: whether these are norms of all heads together.
        attention_output_norm: the norm of what attention adds, unless None;
            `feed_forward_output_norm` likewise.
        second_norm: the norm of another sum of the layer's input and what came of attention and
            its norm, unless None.
        final_norm: the norm after the last layer, unless None.
        projected: whether each token of an embedding model goes through the layer `linear` at
            last, which has `num_labels` outputs and no bias, and no prefix.
        norm: `layer` (Ba et al. 2016), `rms` (Zhang and Sennrich 2019), or `rms + 1`, which adds 1
            to the weights.
        first_norm: whether the first layer has a norm before attention.
        scaled_embeddings: whether embeddings are multiplied with the root of their length.
        positions: `absolute` (a table), `after padding` (a table from pad_token_id + 1 on, for real
            tokens only), `rotary` (Su et al. 2021), `relative` (Raffel et al. 2020), `alibi` (Press
            et al. 2021) or `disentangled` (He et al. 2020).
        segments: the model has a token type embedding; single texts use row 0.
        classifier: the layers after pooling in a classifier.
        classifier_pooling: the pooling of a classifier by `classifier_pooling` of config.json; the
            first is the default. `late` pools what the last layer gets of each token.
        ungated: the layer in the place of `gate` and `intermediate` where the network is not
            gated, unless None.
        experts: the tensors of a mixture of experts, which some layers have, unless None.
        relative_bias: the tensor of a relative position bias, else None.
        unscaled_attention: whether scores are not divided by the root of a head's size.
        keys: keys of config.json that differ from BERT's, by BERT's key; of several the first that
            is there counts, and a dot leads into a table; without one, the default does.
        defaults: values of absent keys that differ from BERT's, by BERT's key.
        supported: the values of settings that the graph follows, where not all.
        meant: values that transformers takes for another, by BERT's key.
    """

    prefixes: tuple[str, ...]
    words: str = "embeddings.word_embeddings.weight"
    embedding_norm: str | None = "embeddings.LayerNorm"
    layer: str = "encoder.layer.{}."
    query: str | Part = "attention.self.query"
    key: str | Part = "attention.self.key"
    value: str | Part = "attention.self.value"
    query_norm: str | None = None
    key_norm: str | None = None
    joined_heads: bool = False
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    attention_output_norm: str | None = None
    second_norm: str | None = None
    gate: str | Part | None = None
    intermediate: str | Part = "intermediate.dense"
    ungated: str | None = None
    experts: Experts | None = None
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    feed_forward_output_norm: str | None = None
    final_norm: str | None = None
    projected: bool = False
    norm: Literal["layer", "rms", "rms + 1"] = "layer"
    norm_first: bool = False
    first_norm: bool = True
    scaled_embeddings: bool = False
    positions: Literal[
        "absolute", "after padding", "rotary", "relative", "alibi", "disentangled"
    ] = "absolute"
    segments: bool = True
    classifier: tuple[ClassifierLayer | ClassifierNorm, ...] = ()
    classifier_pooling: dict[str | None, str] = field(default_factory=lambda: {None: "cls"})
    relative_bias: str | None = None
    unscaled_attention: bool = False
    keys: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    supported: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    meant: dict[str, dict[Any, Any]] = field(default_factory=dict)

    def settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return each setting that decides a vector, by BERT's key; absent ones have defaults.

        Raises:
            ValueError: a setting has another type than its default.
        """
        defaults = _DEFAULTS | self.defaults
        values = {name: _found(config, self.keys.get(name, name)) for name in defaults}
        for name, value in values.items():
            if isinstance(value, str) and isinstance(defaults[name], list):
                values[name] = value.split("|")  # as older versions of transformers saved it
            elif value is not None and not _is_like(value, defaults[name]):
                raise ValueError(f"{name} is {str(value)[:100]!r}")
        found = {name: defaults[name] if value is None else value for name, value in values.items()}
        return found | {name: of.get(found[name], found[name]) for name, of in self.meant.items()}

    def lacks(self, config: Mapping[str, Any]) -> list[str]:
        """Return the keys of config.json that the kind of its rotary positions needs and has not.

        transformers has no defaults for them.
        """
        kind = _found(config, self.keys.get("rope_type", ()))
        needed = _SCALING.get(str(kind), ())
        absent = [each for each in needed if _found(config, self.keys.get(each, each)) is None]
        return [each.removeprefix("rope_") for each in absent]


def _found(config: Mapping[str, Any], keys: str | tuple[str, ...]) -> Any:
    """Return the value of the first of `keys` that `config` has; None without one.

    A window of null is 0, no window: it does not have the default then.
    """
    for key in (keys,) if isinstance(keys, str) else keys:
        *tables, inner = key.split(".")
        place: Any = config
        for table in tables:
            place = place.get(table) if isinstance(place, Mapping) else None
        if isinstance(place, Mapping) and inner in place:
            if place[inner] is not None:
                return place[inner]
            if inner == "sliding_window":
                return 0
    return None


def _is_like(value: object, default: object) -> bool:
    """Return whether `value` has the type of `default`; an epsilon is from 0 to 1."""
    if isinstance(default, float):
        largest = 1 if 0 < default < 1 else _LARGEST_BASE
        return type(value) in {int, float} and 0 <= value <= largest  # type: ignore[operator]
    return type(value) is type(default)


_LARGEST_BASE = 1e12  # of rotary positions
_DEFAULTS = {
    "hidden_size": 768,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "position_embedding_type": "absolute",
    "relative_attention_num_buckets": 32,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "is_decoder": False,
}
"""Settings of config.json with BERT's defaults in transformers (`BertConfig`)."""

_ROTARY = {
    "head_dim": 0,
    "num_key_value_heads": 0,
    "rope_theta": 10_000.0,
    "rope_type": "default",
    "rope_factor": 1.0,
    "partial_rotary_factor": 1.0,
}
"""Defaults of rotary positions; 0 heads are as many as of queries, 0 is their usual size."""

_ROTARY_KEYS: dict[str, str | tuple[str, ...]] = {
    "rope_theta": ("rope_parameters.rope_theta", "rope_theta"),
    "rope_type": ("rope_parameters.rope_type", "rope_scaling.rope_type", "rope_scaling.type"),
    "rope_factor": ("rope_parameters.factor", "rope_scaling.factor"),
    "partial_rotary_factor": ("rope_parameters.partial_rotary_factor", "partial_rotary_factor"),
}
_SCALING = {
    "linear": ("rope_factor",),
    "ntk": ("rope_factor",),
    "llama3": (
        *("rope_factor", "low_freq_factor", "high_freq_factor"),
        "original_max_position_embeddings",
    ),
}
"""The settings that a `rope_type` needs."""

_ROPE_TYPES = {"rope_type": ("default", "linear"), "partial_rotary_factor": (1.0,)}

_WINDOWS = {
    "sliding_window": 0,
    "layer_types": [],
    "first_local_layer": 0,
    "full_attention_every": 0,
    "full_attention_offset": 0,
}
"""Which layers are local: see `is_local`."""


LAYER_TYPES = ("full_attention", "sliding_attention")


def refused_layers(settings: Mapping[str, Any]) -> list[str] | None:
    """Return the `layer_types` of a model if transformers does not take them; else None.

    It takes one of LAYER_TYPES for each layer, and a local layer only with a window.
    """
    names = settings.get("layer_types", ())
    kinds = ["full_attention" if kind == "attention" else kind for kind in names]
    allowed = LAYER_TYPES if _has_window(settings) else LAYER_TYPES[:1]
    is_right = len(kinds) == settings["num_hidden_layers"] and {*kinds} <= {*allowed}
    return kinds if kinds and not is_right else None


def _has_window(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("sliding_window")) and settings.get("use_sliding_window") is not False


def is_local(settings: Mapping[str, Any], layer: int) -> bool:
    """Return whether the tokens of a layer see only those in the window.

    `layer_types` says so, or else layers from `first_local_layer` on are local but every
    `full_attention_every`-th, counted from `full_attention_offset`.
    """
    if not _has_window(settings):
        return False
    kinds = settings["layer_types"]
    if kinds:
        return bool(kinds[layer] == "sliding_attention")
    every = settings["full_attention_every"]
    is_full = every and (layer + settings["full_attention_offset"]) % every == 0
    return bool(layer >= settings["first_local_layer"] and not is_full)


def has_experts(settings: Mapping[str, Any], layer: int) -> bool:
    """Return whether a layer has a mixture of experts: every `moe_every_n_layers`-th, from 1 on."""
    every = settings.get("moe_every_n_layers") or 0
    return bool(settings.get("num_experts") and every and layer % every == 1)


_ROBERTA_CLASSIFIER = (
    ClassifierLayer("classifier.dense", "Tanh"),
    ClassifierLayer("classifier.out_proj", "Identity"),
)

_BERT = Family(
    prefixes=("", "bert."),
    classifier=(
        ClassifierLayer("bert.pooler.dense", "Tanh"),
        ClassifierLayer("classifier", "Identity"),
    ),
)
_ROBERTA = Family(
    prefixes=("", "roberta."),
    positions="after padding",
    classifier=_ROBERTA_CLASSIFIER,
    defaults={"pad_token_id": 1},
)
_DISTILBERT = Family(
    prefixes=("", "distilbert."),
    layer="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    intermediate="ffn.lin1",
    output="ffn.lin2",
    output_norm="output_layer_norm",
    segments=False,
    classifier=(
        ClassifierLayer("pre_classifier", "ReLU"),
        ClassifierLayer("classifier", "Identity"),
    ),
    keys={
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "hidden_act": "activation",
    },
    defaults={"num_hidden_layers": 6},
)
_MPNET = Family(
    prefixes=("", "mpnet."),
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_output="attention.attn.o",
    attention_norm="attention.LayerNorm",
    positions="after padding",
    segments=False,
    classifier=_ROBERTA_CLASSIFIER,
    relative_bias="encoder.relative_attention_bias.weight",
    keys={"pad_token_id": ()},  # it is in the code of transformers, whatever config.json says
    defaults={"pad_token_id": 1},
)

_NOMIC = Family(
    prefixes=("", "model."),
    embedding_norm="emb_ln",
    layer="encoder.layers.{}.",
    query=Part("attn.Wqkv", 0, 3),
    key=Part("attn.Wqkv", 1, 3),
    value=Part("attn.Wqkv", 2, 3),
    attention_output="attn.out_proj",
    attention_norm="norm1",
    gate="mlp.fc12",
    intermediate="mlp.fc11",
    ungated="mlp.fc1",
    experts=Experts(
        router="mlp.router.layer",
        intermediate="mlp.experts.mlp.w1",
        output="mlp.experts.mlp.w2",
        bias="mlp.experts.bias",
    ),
    output="mlp.fc2",
    output_norm="norm2",
    positions="rotary",
    segments=False,
    keys=_ROTARY_KEYS
    | {
        "hidden_size": ("hidden_size", "n_embd"),
        "num_attention_heads": ("num_attention_heads", "n_head"),
        "num_hidden_layers": ("num_hidden_layers", "n_layer"),
        "hidden_act": ("hidden_act", "activation_function"),
        "layer_norm_eps": ("layer_norm_eps", "layer_norm_epsilon"),
        "max_position_embeddings": ("max_position_embeddings", "n_positions"),
        "rope_theta": ("rope_parameters.rope_theta", "rope_theta", "rotary_emb_base"),
        "is_decoder": ("is_decoder", "causal"),
    },
    defaults=_ROTARY
    | {
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rope_theta": 1000.0,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_scaling_factor": 0.0,
        "prenorm": False,
        "use_rms_norm": False,
        "num_experts": 0,
        "moe_every_n_layers": 0,
        "moe_top_k": 1,
        "moe_normalize_expert_weights": False,
        "expert_choice_router": False,
        "num_shared_experts": 0,
    },
    supported=_ROPE_TYPES
    | {
        "hidden_act": ("silu", "swiglu", "gelu"),
        "rotary_emb_fraction": (1.0,),
        "rotary_emb_interleaved": (False,),
        "rotary_scaling_factor": (0.0,),
        "prenorm": (False,),
        "use_rms_norm": (False,),
        "moe_normalize_expert_weights": (False,),
        "expert_choice_router": (False,),
        "num_shared_experts": (0,),
    },
)
_GTE = Family(
    prefixes=("", "gte.", "new.", "model."),
    query=Part("attention.qkv_proj", 0, 3),
    key=Part("attention.qkv_proj", 1, 3),
    value=Part("attention.qkv_proj", 2, 3),
    attention_output="attention.o_proj",
    attention_norm="attn_ln",
    gate=Part("mlp.up_gate_proj", 1, 2),
    intermediate=Part("mlp.up_gate_proj", 0, 2),
    output="mlp.down_proj",
    output_norm="mlp_ln",
    positions="rotary",
    classifier=(
        ClassifierLayer("gte.pooler.dense", "Tanh"),
        ClassifierLayer("classifier", "Identity"),
    ),
    keys=_ROTARY_KEYS,
    defaults=_ROTARY
    | {
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "rope_theta": 160_000.0,
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "logn_attention_scale": False,
    },
    supported={
        "rope_type": ("default", "linear", "ntk"),
        "partial_rotary_factor": (1.0,),
        "position_embedding_type": ("rope",),
        "layer_norm_type": ("layer_norm",),
        "logn_attention_scale": (False,),
    },
)
_NEW = replace(
    _GTE,
    classifier=(
        ClassifierLayer("new.pooler.dense", "Tanh"),
        ClassifierLayer("classifier", "Identity"),
    ),
    defaults=_GTE.defaults | {"pad_token_id": 0, "rope_theta": 10_000.0, "type_vocab_size": 0},
)
_JINA_V3 = Family(
    prefixes=("", "model.", "roberta."),
    embedding_norm="emb_ln",
    layer="encoder.layers.{}.",
    query=Part("mixer.Wqkv", 0, 3),
    key=Part("mixer.Wqkv", 1, 3),
    value=Part("mixer.Wqkv", 2, 3),
    attention_output="mixer.out_proj",
    attention_norm="norm1",
    intermediate="mlp.fc1",
    output="mlp.fc2",
    output_norm="norm2",
    positions="rotary",
    segments=False,
    keys=_ROTARY_KEYS,
    defaults=_ROTARY
    | {
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 8194,
        "pad_token_id": 1,
        "type_vocab_size": 1,
        "rope_theta": 20_000.0,
    },
    supported=_ROPE_TYPES,
)
_XLM_ROBERTA_FLASH = replace(
    _JINA_V3,
    prefixes=("", "roberta."),
    positions="after padding",
    classifier=_ROBERTA_CLASSIFIER,
    keys={},
    defaults={"pad_token_id": 1, "layer_norm_eps": 1e-5, "type_vocab_size": 1},
    supported={},
)
_MODERNBERT = Family(
    prefixes=("", "model."),
    words="embeddings.tok_embeddings.weight",
    embedding_norm="embeddings.norm",
    layer="layers.{}.",
    query=Part("attn.Wqkv", 0, 3),
    key=Part("attn.Wqkv", 1, 3),
    value=Part("attn.Wqkv", 2, 3),
    attention_output="attn.Wo",
    attention_norm="attn_norm",
    gate=Part("mlp.Wi", 0, 2),
    intermediate=Part("mlp.Wi", 1, 2),
    output="mlp.Wo",
    output_norm="mlp_norm",
    final_norm="final_norm",
    norm_first=True,
    first_norm=False,
    positions="rotary",
    segments=False,
    classifier=(
        ClassifierLayer("head.dense", "GELU", bias=None),
        ClassifierNorm("head.norm"),
        ClassifierLayer("classifier", "Identity"),
    ),
    classifier_pooling={"cls": "cls", "mean": "mean"},
    keys=_ROTARY_KEYS
    | {
        "hidden_act": "hidden_activation",
        "layer_norm_eps": "norm_eps",
        "rope_theta": (
            "rope_parameters.full_attention.rope_theta",
            "rope_scaling.rope_theta",
            "global_rope_theta",
        ),
        "local_rope_theta": (
            "rope_parameters.sliding_attention.rope_theta",
            "local_rope_theta",
        ),
        "local_rope_type": "rope_parameters.sliding_attention.rope_type",
        "rope_type": ("rope_parameters.full_attention.rope_type", "rope_scaling.rope_type"),
        "sliding_window": "local_attention",
        "full_attention_every": "global_attn_every_n_layers",
    },
    defaults=_ROTARY
    | _WINDOWS
    | {
        "num_hidden_layers": 22,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "pad_token_id": 50283,
        "rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0,
        "local_rope_type": "default",
        "sliding_window": 128,
        "full_attention_every": 3,
        "classifier_activation": "gelu",
    },
    supported={
        "rope_type": ("default",),
        "partial_rotary_factor": (1.0,),
        "classifier_activation": ("gelu",),
        "local_rope_type": ("default",),
    },
)
_LLAMA = Family(
    prefixes=("", "model."),
    words="embed_tokens.weight",
    embedding_norm=None,
    layer="layers.{}.",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    attention_output="self_attn.o_proj",
    attention_norm="input_layernorm",
    gate="mlp.gate_proj",
    intermediate="mlp.up_proj",
    output="mlp.down_proj",
    output_norm="post_attention_layernorm",
    final_norm="norm",
    norm="rms",
    norm_first=True,
    positions="rotary",
    segments=False,
    classifier=(ClassifierLayer("score", "Identity", bias=False),),
    classifier_pooling={None: "lasttoken"},
    keys=_ROTARY_KEYS | {"layer_norm_eps": "rms_norm_eps"},
    defaults=_ROTARY
    | {
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "hidden_act": "silu",
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
        "is_causal": True,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    supported={
        "rope_type": ("default", "linear", "llama3"),
        "partial_rotary_factor": (1.0,),
    },
)
_LLAMA = replace(
    _LLAMA,
    keys=_LLAMA.keys
    | {
        name: (f"rope_parameters.{name}", f"rope_scaling.{name}")
        for name in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    },
)
_MISTRAL = replace(
    _LLAMA,
    defaults=_LLAMA.defaults
    | _WINDOWS
    | {"num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4096},
)
_QWEN2 = replace(
    _LLAMA,
    keys=_LLAMA.keys | {"first_local_layer": "max_window_layers"},
    defaults=_LLAMA.defaults
    | _WINDOWS
    | {
        "num_key_value_heads": 32,
        "max_position_embeddings": 32_768,
        "sliding_window": 4096,
        "use_sliding_window": False,
        "first_local_layer": 28,
    },
)
_QWEN3 = replace(
    _QWEN2,
    query_norm="self_attn.q_norm",
    key_norm="self_attn.k_norm",
    defaults=_QWEN2.defaults | {"head_dim": 128},
)
_VOYAGE = replace(_QWEN3, projected=True, defaults=_QWEN3.defaults | {"is_causal": False})
_EUROBERT = replace(
    _LLAMA,
    classifier=(
        ClassifierLayer("dense", "GELU"),
        ClassifierLayer("classifier", "Identity"),
    ),
    classifier_pooling={"late": "late", "bos": "cls", "mean": "mean"},
    defaults=_LLAMA.defaults
    | {
        "hidden_size": 768,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": 8192,
        "pad_token_id": 128_001,
        "is_causal": False,
    },
)
_GEMMA = replace(
    _LLAMA,
    norm="rms + 1",
    scaled_embeddings=True,
    defaults=_LLAMA.defaults
    | {
        "hidden_size": 3072,
        "num_attention_heads": 16,
        "head_dim": 256,
        "num_hidden_layers": 28,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "use_bidirectional_attention": False,
    },
    # In transformers it has an effect with one implementation of attention, and none with another.
    supported=_LLAMA.supported | {"use_bidirectional_attention": (False,)},
    meant={"hidden_act": {"gelu": "gelu_pytorch_tanh"}},
)
_GEMMA3 = replace(
    _LLAMA,
    query_norm="self_attn.q_norm",
    key_norm="self_attn.k_norm",
    attention_output_norm="post_attention_layernorm",
    output_norm="pre_feedforward_layernorm",
    feed_forward_output_norm="post_feedforward_layernorm",
    norm="rms + 1",
    scaled_embeddings=True,
    keys=_ROTARY_KEYS
    | {
        "hidden_act": "hidden_activation",
        "layer_norm_eps": "rms_norm_eps",
        "rope_theta": ("rope_parameters.full_attention.rope_theta", "rope_theta"),
        "local_rope_theta": (
            "rope_parameters.sliding_attention.rope_theta",
            "rope_local_base_freq",
        ),
        "local_rope_type": "rope_parameters.sliding_attention.rope_type",
        "rope_type": ("rope_parameters.full_attention.rope_type", "rope_scaling.rope_type"),
        "rope_factor": ("rope_parameters.full_attention.factor", "rope_scaling.factor"),
        "full_attention_every": ("sliding_window_pattern", "_sliding_window_pattern"),
    },
    defaults=_ROTARY
    | _WINDOWS
    | {
        "hidden_size": 2304,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "num_hidden_layers": 26,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 131_072,
        "rope_theta": 1_000_000.0,
        "local_rope_theta": 10_000.0,
        "local_rope_type": "default",
        "sliding_window": 4096,
        "full_attention_every": 6,
        "full_attention_offset": 1,
        "query_pre_attn_scalar": 256,
        "attn_logit_softcapping": 0.0,
        "use_bidirectional_attention": False,
        "is_causal": True,
    },
    supported={
        "rope_type": ("default", "linear"),
        "partial_rotary_factor": (1.0,),
        "attn_logit_softcapping": (0.0,),
        "local_rope_type": ("default",),
        "is_causal": (True,),
    },
)

_T5 = Family(
    prefixes=("",),
    words="shared.weight",
    embedding_norm=None,
    layer="encoder.block.{}.",
    query="layer.0.SelfAttention.q",
    key="layer.0.SelfAttention.k",
    value="layer.0.SelfAttention.v",
    attention_output="layer.0.SelfAttention.o",
    attention_norm="layer.0.layer_norm",
    gate="layer.1.DenseReluDense.wi_0",
    intermediate="layer.1.DenseReluDense.wi_1",
    ungated="layer.1.DenseReluDense.wi",
    output="layer.1.DenseReluDense.wo",
    output_norm="layer.1.layer_norm",
    final_norm="encoder.final_layer_norm",
    norm="rms",
    norm_first=True,
    positions="relative",
    segments=False,
    relative_bias="encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
    unscaled_attention=True,
    keys={
        "hidden_size": "d_model",
        "head_dim": "d_kv",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "hidden_act": "feed_forward_proj",
        "layer_norm_eps": "layer_norm_epsilon",
    },
    defaults={
        "hidden_size": 512,
        "head_dim": 64,
        "num_attention_heads": 8,
        "num_hidden_layers": 6,
        "hidden_act": "relu",
        "layer_norm_eps": 1e-6,
        "max_position_embeddings": 1_000_000,
        "relative_attention_max_distance": 128,
    },
)
_JINA_BERT = Family(
    prefixes=("", "bert."),
    gate=Part("mlp.gated_layers", 0, 2),
    intermediate=Part("mlp.gated_layers", 1, 2),
    output="mlp.wo",
    output_norm="mlp.layernorm",
    positions="alibi",
    classifier=_BERT.classifier,
    keys={"hidden_act": "feed_forward_type"},
    defaults={"hidden_act": "original", "max_position_embeddings": 8192},
    supported={"hidden_act": ("geglu", "reglu"), "position_embedding_type": ("alibi",)},
)
_JINA_BERT_CODE = replace(
    _JINA_BERT,
    query_norm="attention.self.layer_norm_q",
    key_norm="attention.self.layer_norm_k",
    joined_heads=True,
    second_norm="layer_norm_1",
    gate=Part("mlp.up_gated_layer", 1, 2),
    intermediate=Part("mlp.up_gated_layer", 0, 2),
    output="mlp.down_layer",
    output_norm="layer_norm_2",
)
_DEBERTA = Family(
    prefixes=("", "deberta."),
    query="attention.self.query_proj",
    key="attention.self.key_proj",
    value="attention.self.value_proj",
    positions="disentangled",
    classifier=(
        ClassifierLayer("pooler.dense", "GELU"),
        ClassifierLayer("classifier", "Identity"),
    ),
    keys={"head_dim": "attention_head_size"},
    defaults={
        "hidden_size": 1536,
        "num_attention_heads": 24,
        "num_hidden_layers": 24,
        "layer_norm_eps": 1e-7,
        "type_vocab_size": 0,
        "head_dim": 0,
        "relative_attention": False,
        "max_relative_positions": -1,
        "position_buckets": -1,
        "norm_rel_ebd": "none",
        "pos_att_type": [],
        "share_att_key": False,
        "position_biased_input": True,
        "embedding_size": 0,
        "conv_kernel_size": 0,
        "pooler_hidden_act": "gelu",
    },
    supported={
        "relative_attention": (True,),
        "norm_rel_ebd": ("none", "layer_norm"),
        "embedding_size": (0,),
        "conv_kernel_size": (0,),
        "pooler_hidden_act": ("gelu",),
    },
)

FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
    "nomic_bert": _NOMIC,
    "modernbert": _MODERNBERT,
    "gte": _GTE,
    "new": _NEW,
    "jina_embeddings_v3": _JINA_V3,
    "xlm_roberta_flash": _XLM_ROBERTA_FLASH,
    "llama": _LLAMA,
    "mistral": _MISTRAL,
    "qwen2": _QWEN2,
    "qwen3": _QWEN3,
    "voyage_qwen3": _VOYAGE,
    "eurobert": _EUROBERT,
    "gemma": _GEMMA,
    "gemma3_text": _GEMMA3,
    "t5": _T5,
    "mt5": _T5,
    "jina_bert": _JINA_BERT,
    "jina_bert_qk_post_norm": _JINA_BERT_CODE,
    "deberta-v2": _DEBERTA,
}
"""Families by their name, see `family_of`."""


def family_of(config: Mapping[str, Any]) -> str:
    """Return the name of a model's family: `model_type` of config.json, but for custom code.

    Jina's models call themselves BERT and XLM-R, and have other positions and layers. Voyage's
    call themselves Qwen3, are bidirectional, and have another layer at their end.
    """
    model_type = str(config.get("model_type"))
    code = str(config.get("auto_map"))
    if model_type == "bert" and config.get("position_embedding_type") == "alibi":
        return "jina_bert_qk_post_norm" if "qk-post-norm" in code else "jina_bert"
    for name, (base, mark) in _CUSTOM.items():
        if model_type == base and mark in code:
            return name
    return model_type


_CUSTOM = {
    "xlm_roberta_flash": ("xlm-roberta", "XLMRobertaFlash"),
    "voyage_qwen3": ("qwen3", "Qwen3BidirectionalModel"),
}
"""Families of custom code: their `model_type`, and what their `auto_map` names."""
