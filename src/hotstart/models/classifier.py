"""What stands on the encoder of a reranker: the layers of its family, labels, and an activation.

As sentence-transformers' CrossEncoder reads it: the activation that was saved with the model, under
either of the names it had, else a sigmoid for one label and nothing for several.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import FAMILIES
from hotstart.models.modules import ClassifierLayer
from hotstart.scoring import ACTIVATIONS
from hotstart.types import Classifier

RERANKER = "reranker"
_ARCHITECTURE = "ForSequenceClassification"
_HOME = "torch.nn."
_DEFAULT_LABELS = 2  # of transformers, which leaves them out of config.json then


def classifier_layers(folder: str, config: Mapping[str, Any]) -> tuple[ClassifierLayer, ...]:
    """Return the layers after the encoder; UnsupportedModel where `config` is of no classifier."""
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
    """Return labels and activation, the latter from `sentence` if it has one.

    Args:
        folder: for messages.
        config: of config.json.
        sentence: of config_sentence_transformers.json.

    Raises:
        UnsupportedModel: an activation not known here, or a prompt put before every pair.
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
    """The names of the outputs; those that transformers gives where the model has none."""
    names = config.get("id2label") or {}
    count = len(names) or int(config.get("num_labels") or _DEFAULT_LABELS)
    return tuple(str(names.get(str(number), f"LABEL_{number}")) for number in range(count))
