"""What stands on a model's encoder, by what the model is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.classifier import RERANKER, classifier_layers, read_classifier
from hotstart.models.modules import (
    DenseLayer,
    HeadStep,
    read_dense,
    read_poolings,
    refuse_settings,
)
from hotstart.models.said import Said, modules_of, read_json
from hotstart.models.tokenizer import gives_segments
from hotstart.types import Classifier

_MODULES_WITHOUT_EFFECT = {"Dropout"}  # identity at inference


class Top(NamedTuple):
    """What stands on the encoder, and what it has the encoder told; see Description."""

    poolings: tuple[str, ...]
    head: tuple[HeadStep, ...]
    dimension: int
    segments: bool = False
    classifier: Classifier | None = None


def _embedding(said: Said) -> Top:
    refuse_settings(said.folder, said.transformer)
    poolings, head = _read_modules(said.folder)
    hidden = int(said.config.get("hidden_size") or said.config["dim"])
    return Top(poolings, head, _dimension(hidden, poolings, head))


def _reranker(said: Said) -> Top:
    """A CrossEncoder: its classifier stands on the first token, and nothing on that."""
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
    return Top(
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


TOPS: dict[str, Callable[[Said], Top]] = {"embedding": _embedding, "reranker": _reranker}
"""Reads it, by the kind of the model."""
