"""Tiny transformers models with seeded weights large enough that texts get different vectors."""

from __future__ import annotations

import zlib
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertForPreTraining,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
ROBERTA_SIZES = SIZES | {"max_position_embeddings": 66, "layer_norm_eps": 1e-5}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES | {"max_position_embeddings": 64},
    "roberta": ROBERTA_SIZES | {"type_vocab_size": 1},
    "xlm-roberta": ROBERTA_SIZES | {"type_vocab_size": 1},
    "camembert": ROBERTA_SIZES | {"type_vocab_size": 1},
    "mpnet": ROBERTA_SIZES,
    "nomic_bert": SIZES | {"max_position_embeddings": 128, "hidden_act": "silu"},
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
    },
}

# Mean and spread of the weights by the end of their name; the first that fits counts.
SPREADS: tuple[tuple[str, float, float], ...] = (
    ("layernorm.weight", 1.0, 0.3),
    ("layer_norm.weight", 1.0, 0.3),
    ("emb_ln.weight", 1.0, 0.3),
    ("norm1.weight", 1.0, 0.3),
    ("norm2.weight", 1.0, 0.3),
    ("relative_attention_bias.weight", 0.0, 1.5),
    ("word_embeddings.weight", 0.0, 2.0),
    ("embeddings.weight", 0.0, 0.7),
    (".bias", 0.0, 0.1),
    (".weight", 0.0, 0.3),
)


def scatter(module: nn.Module, name: str) -> None:
    """Fill every parameter with numbers that follow from ``name`` alone, padding rows included."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, parameter in sorted(module.named_parameters()):
            ending = key.lower()
            mean, spread = next((m, s) for end, m, s in SPREADS if ending.endswith(end))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread + mean)


def config_of(
    kind: str, tokenizer: PreTrainedTokenizerBase, changes: dict[str, Any]
) -> PreTrainedConfig:
    """The configuration of a tiny model that fits its tokenizer."""
    ids = {"pad_token_id": tokenizer.pad_token_id}
    if tokenizer.bos_token_id is not None:
        ids |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return AutoConfig.for_model(kind, **CONFIGS[kind], vocab_size=len(tokenizer), **ids, **changes)


def tiny_model(
    name: str, kind: str, tokenizer: PreTrainedTokenizerBase, changes: dict[str, Any]
) -> PreTrainedModel:
    """An encoder of the given kind, in evaluation mode."""
    config = config_of(kind, tokenizer, changes)
    model: PreTrainedModel = AutoModel.from_config(config)
    scatter(model, name)
    model.train(False)
    return model


def with_heads(encoder: PreTrainedModel, name: str) -> PreTrainedModel:
    """The same encoder inside ``BertForPreTraining``: weights named ``bert.*`` and ``cls.*``."""
    model = BertForPreTraining(cast("BertConfig", encoder.config))
    scatter(model, name)
    model.bert.load_state_dict(encoder.state_dict())
    model.train(False)
    return model
