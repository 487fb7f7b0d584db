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
    T5EncoderModel,
)

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
ROBERTA_SIZES = SIZES | {"max_position_embeddings": 66, "layer_norm_eps": 1e-5}

GROUPED = SIZES | {"num_key_value_heads": 2, "max_position_embeddings": 128}

CONFIGS: dict[str, dict[str, Any]] = {
    "bert": SIZES | {"max_position_embeddings": 64},
    "roberta": ROBERTA_SIZES | {"type_vocab_size": 1},
    "xlm-roberta": ROBERTA_SIZES | {"type_vocab_size": 1},
    "camembert": ROBERTA_SIZES | {"type_vocab_size": 1},
    "mpnet": ROBERTA_SIZES,
    "nomic_bert": SIZES | {"max_position_embeddings": 128, "hidden_act": "silu"},
    "modernbert": SIZES
    | {"num_hidden_layers": 4, "max_position_embeddings": 128, "local_attention": 16},
    "gte": SIZES | {"max_position_embeddings": 128},
    "jina_embeddings_v3": SIZES | {"max_position_embeddings": 128, "type_vocab_size": 1},
    "llama": GROUPED,
    "mistral": GROUPED | {"sliding_window": 12},
    "qwen2": GROUPED,
    "qwen3": GROUPED | {"head_dim": 16},
    "eurobert": GROUPED,
    "gemma": GROUPED | {"num_key_value_heads": 1, "head_dim": 16},
    "gemma3_text": GROUPED
    | {
        "num_hidden_layers": 4,
        "head_dim": 16,
        "sliding_window": 16,
        "sliding_window_pattern": 3,
        "query_pre_attn_scalar": 24,
    },
    "t5": {
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "relative_attention_max_distance": 64,
    },
    "deberta-v2": SIZES
    | {
        "max_position_embeddings": 128,
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
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
    ("norm.weight", 1.0, 0.3),
    ("layer_norm_q.weight", 1.0, 0.3),
    ("layer_norm_k.weight", 1.0, 0.3),
    ("layer_norm_1.weight", 1.0, 0.3),
    ("layer_norm_2.weight", 1.0, 0.3),
    ("_ln.weight", 1.0, 0.3),
    ("embed_tokens.weight", 0.0, 2.0),
    ("shared.weight", 0.0, 2.0),
    ("rel_embeddings.weight", 0.0, 1.0),
    ("tok_embeddings.weight", 0.0, 2.0),
    ("relative_attention_bias.weight", 0.0, 1.5),
    ("word_embeddings.weight", 0.0, 2.0),
    ("embeddings.weight", 0.0, 0.7),
    ("mlp.w1", 0.0, 0.3),
    ("mlp.w2", 0.0, 0.3),
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
    settings = CONFIGS[kind] | {"vocab_size": len(tokenizer)} | ids | changes
    return AutoConfig.for_model(kind, **settings)


def tiny_model(
    name: str, kind: str, tokenizer: PreTrainedTokenizerBase, changes: dict[str, Any]
) -> PreTrainedModel:
    """An encoder of the given kind, in evaluation mode."""
    config = config_of(kind, tokenizer, changes)
    make = T5EncoderModel if kind == "t5" else AutoModel.from_config
    model: PreTrainedModel = make(config)
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
