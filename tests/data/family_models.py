"""The families of tiny embedding models: a table, and how an entry becomes a model in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_models import scatter, tiny_model
from tiny_tokenizers import TOKENIZERS
from torch import nn
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Family:
    """One tiny model: how it is built, and how its folder is written."""

    name: str
    kind: str = "bert"
    tokenizer: str = ""
    pooling: str | tuple[str, ...] = "mean"
    dense: tuple[int, bool, type[nn.Module]] | None = None
    normalize: bool = False
    max_length: int | None = 32
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ("classic",)


PROMPTS = {"query": "query: ", "document": "passage: ", "classify": "classify this: "}

LONG: dict[str, Any] = {"max_length": 100, "formats": ()}
"""Texts longer than the windows of these models."""

LLAMA3 = {
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
}

FAMILIES: tuple[Family, ...] = (
    Family("bert-mean-normalize", normalize=True, formats=("classic", "fixed_padding")),
    Family("bert-cls", pooling="cls", max_length=None, formats=("classic",)),
    Family("bert-max", pooling="max", formats=()),
    Family("bert-mean-sqrt-len", pooling="mean_sqrt_len_tokens"),
    Family("bert-weightedmean", pooling="weightedmean"),
    Family("bert-lasttoken", pooling="lasttoken", formats=()),
    Family("bert-cls-mean", pooling=("cls", "mean")),
    Family("bert-dense-tanh", dense=(16, True, nn.Tanh), normalize=True),
    Family("bert-sharded", formats=("sharded",)),
    Family("bert-fp16", formats=("half", "classic")),
    Family("bert-bf16", formats=("bfloat16",)),
    Family("bert-prompts", prompts=PROMPTS, default_prompt_name="classify", formats=()),
    Family("bert-lowercase", tokenizer="bert-cased", lower_case=True),
    Family("bert-config-case", formats=("classic", "config_case")),
    Family("bert-gelu-tanh", config={"hidden_act": "gelu_pytorch_tanh"}),
    Family("bert-prefixed", formats=("prefixed", "classic")),
    Family("bert-legacy-names", pooling="cls", formats=("prefixed", "legacy_names", "classic")),
    Family("bert-plain", max_length=None, formats=("bare",)),
    Family("nomic-mean", "nomic_bert", tokenizer="bert", max_length=100, formats=()),
    Family("modernbert-cls", "modernbert", tokenizer="bert", pooling="cls", **LONG),
    Family("gte-cls", "gte", tokenizer="bert", pooling="cls", **LONG),
    Family("jina-v3-mean", "jina_embeddings_v3", tokenizer="bert", **LONG),
    Family("llama-last", "llama", tokenizer="bert", pooling="lasttoken", config=LLAMA3, **LONG),
    Family("mistral-last", "mistral", tokenizer="bert", pooling="lasttoken", **LONG),
    Family("qwen2-last", "qwen2", pooling="lasttoken", **LONG),
    Family("qwen3-last", "qwen3", tokenizer="bert", pooling="lasttoken", **LONG),
    Family("qwen3-bidirectional", "qwen3", tokenizer="bert", config={"is_causal": False}, **LONG),
    Family("eurobert-mean", "eurobert", tokenizer="bert", **LONG),
    Family(
        "gemma3-dense",
        "gemma3_text",
        tokenizer="bert",
        dense=(16, False, nn.Identity),
        normalize=True,
        config={"use_bidirectional_attention": True},
        **LONG,
    ),
    Family("gemma-last", "gemma", tokenizer="bert", pooling="lasttoken", **LONG),
    Family("gemma3-last", "gemma3_text", tokenizer="bert", pooling="lasttoken", **LONG),
    Family("t5-mean", "t5", tokenizer="bert", **LONG),
    Family("t5-gated", "t5", tokenizer="bert", config={"feed_forward_proj": "gated-gelu"}, **LONG),
    Family("deberta-cls", "deberta-v2", tokenizer="bert", pooling="cls", **LONG),
    Family("roberta-mean", "roberta", max_length=40),
    Family("xlm-roberta-cls-normalize", "xlm-roberta", pooling="cls", normalize=True),
    Family("camembert-mean", "camembert", formats=()),
    Family("distilbert-mean", "distilbert"),
    Family("mpnet-mean-normalize", "mpnet", normalize=True, max_length=48),
    Family(
        "modern-save",
        pooling=("mean", "max"),
        dense=(24, False, nn.Identity),
        normalize=True,
        max_length=None,
        formats=(),
    ),
)


def tokenizer_of(family: Family) -> PreTrainedTokenizerBase:
    """The tokenizer of a family, limited to its longest text."""
    tokenizer = TOKENIZERS[family.tokenizer or family.kind]()
    if family.max_length:
        tokenizer.model_max_length = family.max_length
    return tokenizer


def assembled(family: Family, folder: str) -> SentenceTransformer:
    """The family's model in memory; its encoder and tokenizer pass through ``folder``."""
    tokenizer = tokenizer_of(family)
    tokenizer.save_pretrained(folder)
    tiny_model(family.name, family.kind, tokenizer, family.config).save_pretrained(folder)
    modules: list[nn.Module] = [Transformer(folder, do_lower_case=family.lower_case)]
    modules.append(Pooling(modules[0].get_embedding_dimension(), family.pooling))
    if family.dense:
        size, bias, activation = family.dense
        modules.append(Dense(modules[1].get_embedding_dimension(), size, bias, activation()))
        scatter(modules[2], family.name)
    if family.normalize:
        modules.append(Normalize())
    return SentenceTransformer(
        modules=modules,
        prompts=family.prompts or None,
        default_prompt_name=family.default_prompt_name,
        similarity_fn_name="cosine",
        device="cpu",
    )
