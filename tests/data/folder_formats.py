"""The shapes in which model folders come: rewritings of what ``SentenceTransformer.save`` writes.

Each takes what was just made, and changes its folder. A folder that no rewriting touches is in the
newest format.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from family_models import Family, tokenizer_of
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tiny_models import with_heads
from transformers import PreTrainedModel

LENGTH_OF_TOKENIZER = 512

CLASSIC_POOLING = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
}
CLASSIC_VERSIONS = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
SPECIAL_TOKENS = ("bos", "cls", "eos", "mask", "pad", "sep", "unk")


@dataclass(frozen=True)
class EmbedOutput:
    """A family's model: the folder just written, the model in memory and its entry."""

    folder: Path
    model: SentenceTransformer
    family: Family

    @property
    def encoder(self) -> PreTrainedModel:
        """The transformers model inside."""
        return cast("PreTrainedModel", self.model[0].auto_model)


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file as the Hugging Face libraries do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def save_encoder(folder: Path, encoder: PreTrainedModel, **options: Any) -> None:
    """Replace the weights and ``config.json`` of a folder."""
    (folder / "model.safetensors").unlink()
    encoder.save_pretrained(folder, **options)


def sharded(made: EmbedOutput) -> None:
    """Weights in several files with an index."""
    save_encoder(made.folder, made.encoder, max_shard_size="40KB")
    assert not (made.folder / "model.safetensors").exists()


def half(made: EmbedOutput) -> None:
    """Weights stored as float16."""
    save_encoder(made.folder, made.encoder.half())


def bfloat16(made: EmbedOutput) -> None:
    """Weights stored as bfloat16."""
    save_encoder(made.folder, made.encoder.bfloat16())


def prefixed(made: EmbedOutput) -> None:
    """Weights as BertForPreTraining saves them: ``bert.`` before each name, heads beside."""
    save_encoder(made.folder, with_heads(made.encoder, made.family.name))


def legacy_names(made: EmbedOutput) -> None:
    """Names of the first BERT checkpoints: ``gamma``, ``beta`` and a stored ``position_ids``."""
    renamed = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for key, tensor in load_file(made.folder / "model.safetensors").items()
    }
    positions = made.encoder.config.max_position_embeddings
    renamed["bert.embeddings.position_ids"] = torch.arange(positions).unsqueeze(0)
    save_file(renamed, made.folder / "model.safetensors", metadata={"format": "pt"})


def fixed_padding(made: EmbedOutput) -> None:
    """``tokenizer.json`` with truncation and padding of its own, both to be disregarded."""
    content = read_json(made.folder / "tokenizer.json")
    length = (made.family.max_length or 0) // 2
    content["truncation"] = {
        "direction": "Right",
        "max_length": length,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": {"Fixed": length},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    write_json(made.folder / "tokenizer.json", content)


def config_case(made: EmbedOutput) -> None:
    """``tokenizer.json`` keeps case, ``tokenizer_config.json`` says ``do_lower_case`` and wins."""
    content = read_json(made.folder / "tokenizer.json")
    content["normalizer"]["lowercase"] = False
    write_json(made.folder / "tokenizer.json", content)


def bare(made: EmbedOutput) -> None:
    """A transformers folder, without anything of sentence-transformers."""
    tokenizer_of(made.family).save_pretrained(made.folder)
    shutil.rmtree(made.folder / "1_Pooling")
    for name in ("modules", "sentence_bert_config", "config_sentence_transformers"):
        (made.folder / f"{name}.json").unlink()


def classic(made: EmbedOutput) -> None:
    """The files of sentence-transformers 2 and transformers 4."""
    modules = read_json(made.folder / "modules.json")
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        module["type"] = f"sentence_transformers.models.{kind}"
        CLASSIC_MODULES[kind](replace(made, folder=made.folder / module["path"]))
    write_json(made.folder / "modules.json", modules)
    write_json(made.folder / "config_sentence_transformers.json", {"__version__": CLASSIC_VERSIONS})
    config = read_json(made.folder / "config.json")
    config["torch_dtype"] = config.pop("dtype")
    write_json(made.folder / "config.json", config | {"transformers_version": "4.8.2"})
    classic_tokenizer(made)


def classic_tokenizer(made: EmbedOutput) -> None:
    """A tokenizer configuration that leaves the length to ``sentence_bert_config.json``."""
    tokenizer_of(made.family).save_pretrained(made.folder)
    config = read_json(made.folder / "tokenizer_config.json")
    config.pop("backend")
    write_json(
        made.folder / "tokenizer_config.json", config | {"model_max_length": LENGTH_OF_TOKENIZER}
    )
    tokens = {f"{name}_token" for name in SPECIAL_TOKENS}
    write_json(
        made.folder / "special_tokens_map.json", {k: v for k, v in config.items() if k in tokens}
    )


def classic_transformer(made: EmbedOutput) -> None:
    """``sentence_bert_config.json`` holds the length, or is missing."""
    path = made.folder / "sentence_bert_config.json"
    path.unlink()
    if made.family.max_length:
        content = {
            "max_seq_length": made.family.max_length,
            "do_lower_case": made.family.lower_case,
        }
        write_json(path, content)


def classic_pooling(made: EmbedOutput) -> None:
    """One switch for each way of pooling."""
    chosen = (made.family.pooling,) if isinstance(made.family.pooling, str) else made.family.pooling
    size = read_json(made.folder / "config.json")["embedding_dimension"]
    switches = {key: mode in chosen for mode, key in CLASSIC_POOLING.items()}
    write_json(made.folder / "config.json", {"word_embedding_dimension": size, **switches})


def classic_dense(made: EmbedOutput) -> None:
    """No names of inputs and outputs."""
    config = read_json(made.folder / "config.json")
    kept = ("in_features", "out_features", "bias", "activation_function")
    write_json(made.folder / "config.json", {key: config[key] for key in kept})


def classic_normalize(made: EmbedOutput) -> None:
    """An empty folder, which git and the hub leave out."""
    shutil.rmtree(made.folder)


CLASSIC_MODULES: dict[str, Callable[[EmbedOutput], None]] = {
    "Transformer": classic_transformer,
    "Pooling": classic_pooling,
    "Dense": classic_dense,
    "Normalize": classic_normalize,
}

FORMATS: dict[str, Callable[[EmbedOutput], None]] = {
    "bare": bare,
    "bfloat16": bfloat16,
    "classic": classic,
    "config_case": config_case,
    "fixed_padding": fixed_padding,
    "half": half,
    "legacy_names": legacy_names,
    "prefixed": prefixed,
    "sharded": sharded,
}
