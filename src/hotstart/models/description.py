"""Read a model folder of sentence-transformers or transformers.

Files read: config.json, modules.json, sentence_*_config.json, config_sentence_transformers.json,
tokenizer_config.json, and the config.json of each module. Weights are not opened.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hotstart.errors import ModelDamaged, ModelIncomplete, UnsupportedModel
from hotstart.models.architectures import (
    FAMILIES,
    RERANKER,
    DenseLayer,
    HeadStep,
    classifier_layers,
    read_classifier,
    read_dense,
    read_poolings,
    refuse_settings,
)
from hotstart.models.tokenizer import gives_segments, overruling_normalizer
from hotstart.types import TOKENIZER, Classifier


class ConfigFiles(NamedTuple):
    """The configuration files of one model; an absent file is an empty dict.

    Attributes:
        config: config.json.
        sentence: config_sentence_transformers.json.
        tokenizer: tokenizer_config.json.
        transformer: sentence_bert_config.json or one of its older names.
    """

    folder: str
    config: dict[str, Any]
    sentence: dict[str, Any]
    tokenizer: dict[str, Any]
    transformer: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The architecture of the model in transformers, `model_type`."""
        return str(self.config.get("model_type"))


def read_said(folder: str) -> ConfigFiles:
    """Return the configuration files of `folder`; raise ModelDamaged for invalid JSON."""
    return ConfigFiles(
        folder=folder,
        config=read_json(folder, "config.json"),
        sentence=read_json(folder, "config_sentence_transformers.json"),
        tokenizer=read_json(folder, "tokenizer_config.json"),
        transformer=_transformer_config(folder),
    )


def modules_of(folder: str) -> list[tuple[str, str]]:
    """Return (class name, sub-folder) of each module; none for a bare transformer."""
    entries = read_json(folder, "modules.json", default=[])
    return [(entry["type"].rpartition(".")[2], entry["path"]) for entry in entries]


def read_json(folder: str, name: str, default: Any = None) -> Any:
    """Return the JSON of `name`; `default`, else an empty dict, for an absent file."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {} if default is None else default
    except ValueError as error:
        raise ModelDamaged(path, reason=f"not JSON ({error})") from error


def _transformer_config(folder: str) -> dict[str, Any]:
    """Return sentence_bert_config.json or one of its older names, which had the family's name."""
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "sentence_*_config.json")))
    return read_json(folder, os.path.basename(found[0])) if found else {}


_MODULES_WITHOUT_EFFECT = {"Dropout"}  # the identity at inference


class TaskHead(NamedTuple):
    """The head on the encoder, and the inputs it needs."""

    poolings: tuple[str, ...]
    head: tuple[HeadStep, ...]
    dimension: int
    segments: bool = False
    classifier: Classifier | None = None


def _embedding(said: ConfigFiles) -> TaskHead:
    refuse_settings(said.folder, said.transformer)
    poolings, head = _read_modules(said.folder)
    hidden = int(said.config.get("hidden_size") or said.config["dim"])
    return TaskHead(poolings, head, _dimension(hidden, poolings, head))


def _reranker(said: ConfigFiles) -> TaskHead:
    """Return the head of a CrossEncoder: its classifier over the first token."""
    refuse_settings(said.folder, said.transformer, RERANKER)
    for kind, _ in modules_of(said.folder):
        if kind != "Transformer":
            known = ("Transformer",)
            raise UnsupportedModel(
                said.folder, feature="module", got=kind, supported=known, kind=RERANKER
            )
    layers = classifier_layers(said.folder, said.config)
    classifier = read_classifier(said.folder, said.config, said.sentence)
    told = FAMILIES[said.model_type].segments and int(said.config.get("type_vocab_size") or 2) > 1
    return TaskHead(
        poolings=("cls",),
        head=layers,
        dimension=len(classifier.labels),
        segments=told and gives_segments(said.model_type, said.tokenizer),
        classifier=classifier,
    )


def _read_modules(folder: str) -> tuple[tuple[str, ...], tuple[HeadStep, ...]]:
    poolings: tuple[str, ...] = ("mean",)
    head: list[HeadStep] = []
    for kind, path in modules_of(folder):
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


TOPS: dict[str, Callable[[ConfigFiles], TaskHead]] = {
    "embedding": _embedding,
    "reranker": _reranker,
}
"""Reads it, by the kind of the model."""


SINGLE_WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
SHIPPED_GRAPH = "onnx/model.onnx"


@dataclass(frozen=True)
class Description:
    """The description of a model, read from its folder.

    Attributes:
        weights: safetensors files, relative to `folder`; empty with `shipped_graph`.
        shipped_graph: the ONNX file of the repository, used if no graph can be built.
        poolings: modes of `hotstart.models.architectures.POOLINGS`, concatenated in this order.
        head: layers after pooling, in order.
        dimension: length of the vectors; number of labels of a reranker.
        max_seq_length: tokens kept of a text, special tokens included.
        lowercase: whether texts are lower-cased first.
        normalizer: replacement of the tokenizer's normaliser, if any.
        truncate_dim: leading dimensions that the model keeps, if it sets them.
        prompts: text put before an input, by prompt name.
        segments: whether the encoder gets the segment (text of the pair) of each token.
        classifier: labels and activation of a reranker.
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
    segments: bool = False
    classifier: Classifier | None = None

    def setting(self, name: str) -> Any:
        """Return the value of config.json for BERT's `name`, under the name of this family."""
        family = FAMILIES.get(self.model_type)
        return self.config.get(family.settings.get(name, name) if family else name)


def missing_files(folder: str) -> list[str]:
    """Return the needed files that are missing in `folder`, sorted; [] for a complete model.

    A folder without modules.json is a bare transformer, as in sentence-transformers. The needs of
    an unsupported architecture are unknown; `describe` refuses it.
    """
    config = read_json(folder, "config.json")
    if config and not _is_supported(folder, config):
        return []
    needed = ["config.json", TOKENIZER, *_module_files(folder)]
    missing = [name for name in needed if not os.path.isfile(os.path.join(folder, name))]
    return sorted(missing + _missing_weights(folder))


def describe(folder: str, source: str, kind: str = "embedding") -> Description:
    """Read the description of the model `source` in `folder`.

    Raises:
        ModelIncomplete: files are missing.
        ModelDamaged: a file is invalid.
        UnsupportedModel: no graph can be built and the repository has none.
    """
    missing = missing_files(folder)
    if missing:
        raise ModelIncomplete(source, folder=folder, missing=missing, on_hub=False)
    said = read_said(folder)
    if not _is_supported(folder, said.config):
        known = tuple(FAMILIES)
        raise UnsupportedModel(
            folder, feature="architecture", got=said.model_type, supported=known, kind=kind
        )
    weights = _weight_files(folder) if said.model_type in FAMILIES else ()
    top = TOPS[kind](said)
    if top.classifier and not weights:
        raise UnsupportedModel(
            folder, feature="only", got=SHIPPED_GRAPH, supported=(SINGLE_WEIGHTS,), kind=kind
        )
    return Description(
        folder=folder,
        model_type=said.model_type,
        config=said.config,
        weights=weights,
        shipped_graph=None if weights else SHIPPED_GRAPH,
        poolings=top.poolings,
        head=top.head,
        dimension=top.dimension,
        max_seq_length=_max_seq_length(said),
        pad_token_id=int(said.config.get("pad_token_id") or 0),
        lowercase=bool(said.transformer.get("do_lower_case")),
        normalizer=overruling_normalizer(said.model_type, said.tokenizer),
        truncate_dim=said.sentence.get("truncate_dim"),
        prompts=prompts_of(said.sentence),
        default_prompt_name=said.sentence.get("default_prompt_name"),
        segments=top.segments,
        classifier=top.classifier,
    )


def prompts_of(sentence: dict[str, Any]) -> dict[str, str]:
    """Return the non-empty prompts of config_sentence_transformers.json."""
    return {name: text for name, text in (sentence.get("prompts") or {}).items() if text}


def _is_supported(folder: str, config: dict[str, Any]) -> bool:
    known = str(config.get("model_type")) in FAMILIES
    return known or os.path.isfile(os.path.join(folder, SHIPPED_GRAPH))


def _weight_files(folder: str) -> tuple[str, ...]:
    """Return the safetensors files of the model, existing or not."""
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
    for kind, path in modules_of(folder):
        if kind in {"Pooling", "Dense"}:
            files.append(f"{path}/config.json")
        if kind == "Dense":
            files.append(f"{path}/{SINGLE_WEIGHTS}")
    return files


def _max_seq_length(said: ConfigFiles) -> int:
    """Return the limit of sentence-transformers, bounded by the rows of the position embedding."""
    positions = int(said.config.get("max_position_embeddings") or 512)
    family = FAMILIES.get(said.model_type)
    if family and family.positions_after_padding:
        positions -= int(said.config.get("pad_token_id") or 0) + 1
    chosen = said.transformer.get("max_seq_length") or said.tokenizer.get("model_max_length")
    return min(int(chosen or positions), positions)
