"""A model folder as sentence-transformers and transformers lay it out, read without either.

Files read: config.json, modules.json, sentence_*_config.json, config_sentence_transformers.json,
tokenizer_config.json, and the config.json of each module. Their weights are not opened here.
"""

from __future__ import annotations

import glob
import json
import os
from dataclasses import dataclass, field
from typing import Any

from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.models.families import FAMILIES
from hotstart.models.modules import DenseLayer, HeadStep, read_dense, read_poolings, refuse_settings
from hotstart.models.tokenizer import TOKENIZER, overruling_normalizer

SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SHIPPED_GRAPH = "onnx/model.onnx"
_MODULES_WITHOUT_EFFECT = {"Dropout"}  # identity at inference


@dataclass(frozen=True)
class Description:
    """What a model folder says of its model.

    Attributes:
        weights: safetensors files, relative to `folder`; empty where `shipped_graph` is used.
        shipped_graph: the ONNX file the repository brings, where no graph can be built.
        poolings: modes of `hotstart.models.modules.POOLINGS`, concatenated in this order.
        head: what follows pooling, in order.
        dimension: length of the resulting vector.
        max_seq_length: tokens kept of a text, special tokens counted.
        lowercase: whether texts are lowered before anything else.
        normalizer: what stands in place of the tokenizer's own normaliser, if anything.
        truncate_dim: leading dimensions kept of a vector, where the model says so.
        prompts: text put before an input, by prompt name.
    """

    folder: str
    model_type: str
    config: dict[str, Any]
    weights: tuple[str, ...]
    shipped_graph: str | None
    poolings: tuple[str, ...]
    head: tuple[HeadStep, ...]
    dimension: int
    max_seq_length: int
    pad_token_id: int
    lowercase: bool
    normalizer: dict[str, Any] | None
    truncate_dim: int | None
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None

    def setting(self, name: str) -> Any:
        """Return config.json's value for BERT's `name`, whatever this family calls it."""
        family = FAMILIES.get(self.model_type)
        return self.config.get(family.settings.get(name, name) if family else name)


def missing_files(folder: str) -> list[str]:
    """Return which of the files a model needs are absent from `folder`, sorted; [] when whole.

    A folder without modules.json is taken as a bare transformer, as sentence-transformers does.
    What an architecture that cannot be run would need is not known: `describe` refuses it.
    """
    config = read_json(folder, "config.json")
    if config and not _is_supported(folder, config):
        return []
    needed = ["config.json", TOKENIZER, *_module_files(folder)]
    missing = [name for name in needed if not os.path.isfile(os.path.join(folder, name))]
    return sorted(missing + _missing_weights(folder))


def describe(folder: str, source: str) -> Description:
    """Read the whole model in `folder`, which `source` named.

    Raises:
        ModelIncomplete: files are missing.
        ModelDamaged: one of them is not the JSON it should be.
        UnsupportedModel: neither a graph can be built nor one is shipped.
    """
    missing = missing_files(folder)
    if missing:
        raise ModelIncomplete(source, folder=folder, missing=missing, on_hub=False)
    config = read_json(folder, "config.json")
    model_type = _model_type(config)
    if not _is_supported(folder, config):
        raise UnsupportedModel(
            folder, feature="architecture", got=model_type, supported=tuple(FAMILIES)
        )
    weights = _weight_files(folder) if model_type in FAMILIES else ()
    poolings, head = _read_modules(folder)
    sentence = read_json(folder, "config_sentence_transformers.json")
    tokenizer = read_json(folder, "tokenizer_config.json")
    transformer = _transformer_config(folder)
    refuse_settings(folder, transformer)
    return Description(
        folder=folder,
        model_type=model_type,
        config=config,
        weights=weights,
        shipped_graph=None if weights else SHIPPED_GRAPH,
        poolings=poolings,
        head=head,
        dimension=_dimension(int(config.get("hidden_size") or config["dim"]), poolings, head),
        max_seq_length=_max_seq_length(model_type, config, tokenizer, transformer),
        pad_token_id=int(config.get("pad_token_id") or 0),
        lowercase=bool(transformer.get("do_lower_case")),
        normalizer=overruling_normalizer(model_type, tokenizer),
        truncate_dim=sentence.get("truncate_dim"),
        prompts=prompts_of(sentence),
        default_prompt_name=sentence.get("default_prompt_name"),
    )


def prompts_of(sentence: dict[str, Any]) -> dict[str, str]:
    """Return the prompts that config_sentence_transformers.json sets; an empty one sets nothing."""
    return {name: text for name, text in (sentence.get("prompts") or {}).items() if text}


def _is_supported(folder: str, config: dict[str, Any]) -> bool:
    return _model_type(config) in FAMILIES or os.path.isfile(os.path.join(folder, SHIPPED_GRAPH))


def _model_type(config: dict[str, Any]) -> str:
    return str(config.get("model_type"))


def _weight_files(folder: str) -> tuple[str, ...]:
    """The safetensors files the model is made of, whether or not each is there."""
    if os.path.isfile(os.path.join(folder, SINGLE_WEIGHTS)):
        return (SINGLE_WEIGHTS,)
    if os.path.isfile(os.path.join(folder, WEIGHTS_INDEX)):
        return tuple(sorted(set(read_json(folder, WEIGHTS_INDEX)["weight_map"].values())))
    return ()


def _missing_weights(folder: str) -> list[str]:
    names = _weight_files(folder)
    if not names and os.path.isfile(os.path.join(folder, SHIPPED_GRAPH)):
        return []
    wanted = names or (SINGLE_WEIGHTS,)
    return [name for name in wanted if not os.path.isfile(os.path.join(folder, name))]


def _module_files(folder: str) -> list[str]:
    files = []
    for kind, path in _modules(folder):
        if kind in {"Pooling", "Dense"}:
            files.append(f"{path}/config.json")
        if kind == "Dense":
            files.append(f"{path}/{SINGLE_WEIGHTS}")
    return files


def _modules(folder: str) -> list[tuple[str, str]]:
    """(class name, sub-folder) of each module; a bare transformer where modules.json is absent."""
    entries = read_json(folder, "modules.json", default=[])
    return [(entry["type"].rpartition(".")[2], entry["path"]) for entry in entries]


def _read_modules(folder: str) -> tuple[tuple[str, ...], tuple[HeadStep, ...]]:
    poolings: tuple[str, ...] = ("mean",)
    head: list[HeadStep] = []
    for kind, path in _modules(folder):
        config = read_json(folder, f"{path}/config.json") if kind in {"Pooling", "Dense"} else {}
        if kind == "Pooling":
            poolings = read_poolings(folder, config)
        elif kind == "Dense":
            head.append(read_dense(folder, path, config))
        elif kind == "Normalize":
            head.append("normalize")
        elif kind != "Transformer" and kind not in _MODULES_WITHOUT_EFFECT:
            known = ("Transformer", "Pooling", "Dense", "Normalize")
            raise UnsupportedModel(folder, feature="module", got=kind, supported=known)
    return poolings, tuple(head)


def _dimension(hidden: int, poolings: tuple[str, ...], head: tuple[HeadStep, ...]) -> int:
    layers = [step for step in head if isinstance(step, DenseLayer)]
    return layers[-1].out_features if layers else hidden * len(poolings)


def _transformer_config(folder: str) -> dict[str, Any]:
    """sentence_bert_config.json, under whichever of its names (it once carried the family's)."""
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "sentence_*_config.json")))
    return read_json(folder, os.path.basename(found[0])) if found else {}


def _max_seq_length(
    model_type: str, config: dict[str, Any], tokenizer: dict[str, Any], transformer: dict[str, Any]
) -> int:
    """sentence-transformers' choice, bounded by the rows of the position embedding."""
    positions = int(config.get("max_position_embeddings") or 512)
    family = FAMILIES.get(model_type)
    if family and family.positions_after_padding:
        positions -= int(config.get("pad_token_id") or 0) + 1
    chosen = transformer.get("max_seq_length") or tokenizer.get("model_max_length") or positions
    return min(int(chosen), positions)


def read_json(folder: str, name: str, default: Any = None) -> Any:
    """The JSON of `name`; `default`, else an empty dict, where the file is absent."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {} if default is None else default
    except ValueError as error:
        raise ModelDamaged(path, reason=f"not JSON ({error})") from error
