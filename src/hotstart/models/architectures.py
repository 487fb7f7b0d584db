"""Encoder architectures and classifier heads, as data.

Every family is a post-norm transformer encoder (Vaswani et al. 2017) as in BERT (Devlin et al.
2018). The families differ in tensor names, in how positions are counted, in token type embeddings,
and in MPNet's relative position bias (Song et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hotstart.errors import UnsupportedModel
from hotstart.scoring import ACTIVATIONS
from hotstart.types import Classifier


@dataclass(frozen=True)
class ClassifierLayer:
    """A dense layer of a classifier head, stored with the encoder's tensors."""

    name: str
    activation: str

    @property
    def path(self) -> str:
        """Folder of the tensors: empty, the encoder's folder."""
        return ""

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias: always True."""
        return True


@dataclass(frozen=True)
class Family:
    """Names of tensors and settings in one architecture.

    Attributes:
        prefixes: possible prefixes of all tensor names; a model with a head saves one.
        layer: the prefix of a layer, with a placeholder for the layer number.
        positions_after_padding: positions count only real tokens and begin at pad_token_id + 1.
        segments: the model has a token type embedding; single texts use row 0.
        classifier: the layers after the first token in a classifier.
        relative_bias: the tensor of MPNet's relative position bias, else None.
        keys: keys of config.json that differ from BERT's, by BERT's key; of several the first that
            is there counts, and a dot leads into a table.
        rotary: whether positions are rotations of queries and keys (Su et al. 2021).
        defaults: values of absent keys that differ from BERT's, by BERT's key.
    """

    prefixes: tuple[str, ...]
    layer: str = "encoder.layer.{}."
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attention_output: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    intermediate: str = "intermediate.dense"
    output: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    positions_after_padding: bool = False
    segments: bool = True
    classifier: tuple[ClassifierLayer, ...] = ()
    relative_bias: str | None = None
    rotary: bool = False
    keys: dict[str, str | tuple[str, ...]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def settings(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return each setting that decides a vector, by BERT's key; absent ones have defaults.

        Raises:
            ValueError: a setting has another type than its default.
        """
        defaults = _DEFAULTS | self.defaults
        values = {name: _found(config, self.keys.get(name, name)) for name in defaults}
        for name, value in values.items():
            if value is not None and not _is_like(value, defaults[name]):
                raise ValueError(f"{name} is {str(value)[:100]!r}")
        return {name: defaults[name] if value is None else value for name, value in values.items()}


def _found(config: Mapping[str, Any], keys: str | tuple[str, ...]) -> Any:
    """Return the value of the first of `keys` that `config` has; None without one."""
    for key in (keys,) if isinstance(keys, str) else keys:
        table, _, inner = key.rpartition(".")
        place = config.get(table) if table else config
        if isinstance(place, Mapping) and place.get(inner) is not None:
            return place[inner]
    return None


def _is_like(value: object, default: object) -> bool:
    """Return whether `value` has the type of `default`; an epsilon is from 0 to 1."""
    if isinstance(default, float):
        largest = 1 if 0 < default <= 1 else _LARGEST_BASE
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
    positions_after_padding=True,
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
    positions_after_padding=True,
    segments=False,
    classifier=_ROBERTA_CLASSIFIER,
    relative_bias="encoder.relative_attention_bias.weight",
    defaults={"pad_token_id": 1},
)

_NOMIC = Family(
    prefixes=("", "model."),
    layer="encoder.layers.{}.",
    segments=False,
    rotary=True,
    keys={
        "hidden_size": ("hidden_size", "n_embd"),
        "num_attention_heads": ("num_attention_heads", "n_head"),
        "num_hidden_layers": ("num_hidden_layers", "n_layer"),
        "hidden_act": ("hidden_act", "activation_function"),
        "layer_norm_eps": ("layer_norm_eps", "layer_norm_epsilon"),
        "max_position_embeddings": ("max_position_embeddings", "n_positions"),
        "rope_theta": ("rope_parameters.rope_theta", "rope_theta", "rotary_emb_base"),
        "rope_type": ("rope_parameters.rope_type", "rope_scaling.rope_type"),
        "is_decoder": ("is_decoder", "causal"),
    },
    defaults={
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "head_dim": 0,
        "rope_theta": 1000.0,
        "rope_type": "default",
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_scaling_factor": 0.0,
        "prenorm": False,
        "use_rms_norm": False,
        "num_experts": 0,
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
}
"""Families by `model_type` of config.json."""


RERANKER = "reranker"
_ARCHITECTURE = "ForSequenceClassification"
_TORCH_NN = "torch.nn."
_DEFAULT_LABELS = 2  # transformers omits this number of labels from config.json
_MOST_LABELS = 100_000


def classifier_layers(folder: str, config: Mapping[str, Any]) -> tuple[ClassifierLayer, ...]:
    """Return the classifier layers after the encoder.

    Raises:
        UnsupportedModel: `config` does not describe a supported classifier.
    """
    architectures = [str(name) for name in config.get("architectures") or ()]
    family = FAMILIES.get(str(config.get("model_type")))
    has_head = family is not None and family.classifier
    if family is None or not has_head or not any(n.endswith(_ARCHITECTURE) for n in architectures):
        names = [name for name, each in FAMILIES.items() if each.classifier]
        supported = tuple(f"{name} ...{_ARCHITECTURE}" for name in names)
        raise UnsupportedModel(
            folder, feature="architecture", got=architectures, supported=supported, kind=RERANKER
        )
    return family.classifier


def read_classifier(
    folder: str, config: Mapping[str, Any], sentence: Mapping[str, Any]
) -> Classifier:
    """Return the labels and the activation; `sentence` overrides `config`.

    Args:
        folder: the model folder, for error messages.
        config: content of config.json.
        sentence: content of config_sentence_transformers.json.

    Raises:
        UnsupportedModel: the activation is unknown, or the model has a default prompt.
    """
    prompt = sentence.get("default_prompt_name")
    if prompt and (sentence.get("prompts") or {}).get(prompt):
        supported = ("rerankers without a default prompt",)
        raise UnsupportedModel(
            folder, feature="prompt", got=prompt, supported=supported, kind=RERANKER
        )
    labels = _labels(config)
    path = (
        sentence.get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
        or (f"{_TORCH_NN}Sigmoid" if len(labels) == 1 else f"{_TORCH_NN}Identity")
    )
    name = path.rpartition(".")[2].lower()
    if not path.startswith(_TORCH_NN) or name not in ACTIVATIONS:
        raise UnsupportedModel(
            folder, feature="activation", got=path, supported=tuple(ACTIVATIONS), kind=RERANKER
        )
    return Classifier(labels, name)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the label names; without names, the defaults of transformers.

    Raises:
        ValueError: the number of labels is none that a model has.
    """
    names = config.get("id2label") or {}
    count = len(names) or int(config.get("num_labels") or _DEFAULT_LABELS)
    if not 1 <= count <= _MOST_LABELS:
        raise ValueError(f"num_labels is {count}")
    return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(count))
