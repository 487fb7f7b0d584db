"""Modules of sentence-transformers after the transformer, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import ClassifierLayer

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""The pooling modes, named and ordered as in sentence-transformers.

Several modes are concatenated in this order.
"""

DENSE_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")
"""Names of activations in torch.nn."""

_LEGACY_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

_COMMON_SETTINGS = dict.fromkeys(
    ("processing_kwargs", "query_length", "document_length", "query_expansion")
)
_SETTINGS = {
    "embedding": _COMMON_SETTINGS
    | {"transformer_task": "feature-extraction", "module_output_name": "token_embeddings"},
    "reranker": _COMMON_SETTINGS
    | {"transformer_task": "sequence-classification", "module_output_name": "scores"},
}
"""The supported values of keys in sentence_bert_config.json, by model kind."""


@dataclass(frozen=True)
class DenseLayer:
    """A dense layer, `activation(x @ weight.T + bias)`, stored in `path`/model.safetensors."""

    path: str
    in_features: int
    out_features: int
    bias: bool
    activation: str

    @property
    def name(self) -> str:
        """Prefix of the tensor names."""
        return "linear"


HeadStep = DenseLayer | ClassifierLayer | Literal["normalize"]


def refuse_settings(folder: str, config: Mapping[str, Any], kind: str = "embedding") -> None:
    """Raise UnsupportedModel for an unsupported setting in sentence_bert_config.json."""
    for key, supported in _SETTINGS[kind].items():
        if config.get(key) not in (None, {}, supported):
            raise UnsupportedModel(
                folder, feature=key, got=config[key], supported=(str(supported),), kind=kind
            )


def read_poolings(folder: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the pooling modes of a Pooling module.

    Raises:
        UnsupportedModel: a mode is unknown, or prompts are excluded from pooling.
    """
    setting = config.get("pooling_mode")
    if setting is None:
        setting = [mode for key, mode in _LEGACY_KEYS.items() if config.get(key)] or "mean"
    modes = (setting,) if isinstance(setting, str) else tuple(setting)
    for mode in modes:
        if mode not in POOLINGS:
            raise UnsupportedModel(folder, feature="pooling", got=mode, supported=POOLINGS)
    if config.get("include_prompt") is False:
        raise UnsupportedModel(
            folder, feature="include_prompt", got=False, supported=("pooling over the whole text",)
        )
    return modes


def read_dense(folder: str, path: str, config: Mapping[str, Any]) -> DenseLayer:
    """Return the layer of a Dense module.

    Raises:
        UnsupportedModel: the activation is unknown, or the module has a residual or another input.
    """
    activation = str(config.get("activation_function", "torch.nn.Tanh")).rpartition(".")[2]
    if activation not in DENSE_ACTIVATIONS:
        raise UnsupportedModel(
            folder, feature="activation", got=activation, supported=DENSE_ACTIVATIONS
        )
    names = {config.get(key) for key in ("module_input_name", "module_output_name")}
    if config.get("use_residual") or not names <= {None, "sentence_embedding"}:
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
