"""The modules after the transformer: pooling, and the head of Dense and Normalize steps.

Two formats of their config.json are read, sentence-transformers' up to version 5
(`pooling_mode_mean_tokens: true`) and from 6 on (`pooling_mode: "mean"`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hotstart.errors import UnsupportedModel

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "lasttoken")
"""Names and order of sentence-transformers: several modes are concatenated in this order."""

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
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
    """`activation(x @ weight.T + bias)`, its tensors in `path`/model.safetensors."""

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: str

    @property
    def name(self) -> str:
        """What its tensors' names begin with."""
        return "linear"


@dataclass(frozen=True)
class ClassifierLayer:
    """As a DenseLayer, its tensors among the encoder's: `name`.weight and `name`.bias."""

    name: str
    activation: str

    @property
    def path(self) -> str:
        """Where its tensors are: with the encoder's."""
        return ""

    @property
    def bias(self) -> bool:
        """Whether it has a bias: always."""
        return True


HeadStep = DenseLayer | ClassifierLayer | Literal["normalize"]


def refuse_settings(folder: str, config: Mapping[str, Any], kind: str = "embedding") -> None:
    """Raise UnsupportedModel for what sentence_bert_config.json may not say of such a model."""
    for key, plain in _SETTINGS[kind].items():
        if config.get(key) not in (None, {}, plain):
            raise UnsupportedModel(
                folder, feature=key, got=config[key], supported=(str(plain),), kind=kind
            )


def read_poolings(folder: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the pooling modes of a Pooling module's `config`; UnsupportedModel for others."""
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
    """Return the layer that a Dense module's `config` describes; UnsupportedModel for others."""
    activation = str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise UnsupportedModel(folder, feature="activation", got=activation, supported=ACTIVATIONS)
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
