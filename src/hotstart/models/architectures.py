"""Encoder architectures, modules and classifier heads, as data.

All families are post-norm transformer encoders (Vaswani et al. 2017) as BERT (Devlin et al. 2018).
They differ in the names of tensors, in how positions are counted, in segments of tokens, and in
MPNet's relative position bias (Song et al. 2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hotstart.errors import UnsupportedModel
from hotstart.scoring import ACTIVATIONS
from hotstart.types import Classifier

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "lasttoken")
"""Names and order of sentence-transformers: several modes are concatenated in this order."""

DENSE_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""Of torch.nn."""

_LEGACY_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_PLAIN_SETTINGS = dict.fromkeys(
    ("processing_kwargs", "query_length", "document_length", "query_expansion")
)
_SETTINGS = {
    "embedding": _PLAIN_SETTINGS
    | {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"},
    "reranker": _PLAIN_SETTINGS
    | {"transformer_task": "sequence-classification", "module_output_name": "scores"},
}
"""What sentence_bert_config.json may say of a model, by its kind."""


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer: `activation(x @ weight.T + bias)`, its tensors in `path`/model.safetensors."""

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: str

    @property
    def name(self) -> str:
        """The prefix of the tensor names."""
        return "linear"


@dataclass(frozen=True)
class ClassifierLayer:
    """A dense layer of a classifier head; its tensors are in the encoder's files."""

    name: str
    activation: str

    @property
    def path(self) -> str:
        """The folder of the tensors, that of the encoder."""
        return ""

    @property
    def bias(self) -> bool:
        """Whether the layer has a bias, always true."""
        return True


HeadStep = DenseLayer | ClassifierLayer | Literal["normalize"]


def refuse_settings(folder: str, config: Mapping[str, Any], kind: str = "embedding") -> None:
    """Raise UnsupportedModel for unsupported settings in sentence_bert_config.json."""
    for key, plain in _SETTINGS[kind].items():
        if config.get(key) not in (None, {}, plain):
            raise UnsupportedModel(
                folder, feature=key, got=config[key], supported=(str(plain),), kind=kind
            )


def read_poolings(folder: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the pooling modes in the `config` of a Pooling module."""
    chosen = config.get("pooling_mode")
    if chosen is None:
        chosen = [mode for key, mode in _LEGACY_KEYS.items() if config.get(key)] or "mean"
    modes = (chosen,) if isinstance(chosen, str) else tuple(chosen)
    for mode in modes:
        if mode not in POOLINGS:
            raise UnsupportedModel(folder, feature="pooling", got=mode, supported=POOLINGS)
    if config.get("include_prompt") is False:
        raise UnsupportedModel(
            folder, feature="include_prompt", got=False, supported=("pooling over the whole text",)
        )
    return modes


def read_dense(folder: str, path: str, config: Mapping[str, Any]) -> DenseLayer:
    """Return the layer in the `config` of a Dense module."""
    activation = str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    if activation not in DENSE_ACTIVATIONS:
        raise UnsupportedModel(
            folder, feature="activation", got=activation, supported=DENSE_ACTIVATIONS
        )
    if config.get("use_residual") or config.get("module_input_name", "sentence_embedding") != (
        "sentence_embedding"
    ):
        raise UnsupportedModel(
            folder, feature="Dense module", got=dict(config), supported=("a plain Dense layer",)
        )
    return DenseLayer(
        path=path,
        in_features=int(config["in_features"]),
        out_features=int(config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=activation,
    )


@dataclass(frozen=True)
class Family:
    """How one architecture names its tensors and settings.

    Attributes:
        prefixes: possible prefixes of all tensor names, as models with a head save them.
        layer: prefix of a layer, with a placeholder for its number.
        positions_after_padding: positions count only real tokens and begin at pad_token_id + 1.
        segments: there is a token type embedding; single texts use row 0.
        classifier: layers of the classifier over the first token.
        relative_bias: the tensor of MPNet's relative position bias, else None.
        settings: keys of config.json that differ from BERT's.
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
    settings: dict[str, str] = field(default_factory=dict)


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
    settings={
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "hidden_act": "activation",
    },
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
)

FAMILIES = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
}
"""By `model_type` of config.json."""


RERANKER = "reranker"
_ARCHITECTURE = "ForSequenceClassification"
_HOME = "torch.nn."
_DEFAULT_LABELS = 2  # defaults of transformers, which omits them in config.json


def classifier_layers(folder: str, config: Mapping[str, Any]) -> tuple[ClassifierLayer, ...]:
    """Return the layers after the encoder; raise UnsupportedModel without a classifier."""
    named = [str(name) for name in config.get("architectures") or ()]
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None or not any(name.endswith(_ARCHITECTURE) for name in named):
        supported = tuple(f"{name} ...{_ARCHITECTURE}" for name in FAMILIES)
        raise UnsupportedModel(
            folder, feature="architecture", got=named, supported=supported, kind=RERANKER
        )
    return family.classifier


def read_classifier(
    folder: str, config: Mapping[str, Any], sentence: Mapping[str, Any]
) -> Classifier:
    """Return labels and activation; an activation in `sentence` has priority.

    Args:
        folder: folder of the model, for messages.
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
        or f"{_HOME}{'Sigmoid' if len(labels) == 1 else 'Identity'}"
    )
    name = path.rpartition(".")[2].lower()
    if not path.startswith(_HOME) or name not in ACTIVATIONS:
        raise UnsupportedModel(
            folder, feature="activation", got=path, supported=tuple(ACTIVATIONS), kind=RERANKER
        )
    return Classifier(labels, name)


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the outputs, by default those of transformers."""
    names = config.get("id2label") or {}
    count = len(names) or int(config.get("num_labels") or _DEFAULT_LABELS)
    return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(count))
