"""What calls need to know of a model that an engine opens from its own folder."""

from __future__ import annotations

import hashlib
import os

from hotstart.models.description import prompts_of
from hotstart.models.integrity import sha256
from hotstart.models.said import read_json
from hotstart.types import Card

_WEIGHTS = (".safetensors", ".bin")
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")


def folder_card(folder: str, dimension: int, engine: str) -> Card:
    """Return the card of the model in `folder`, whose vectors have `dimension`.

    Its fingerprint is taken over the engine's name and every file that decides a vector: weights,
    tokenizer and configuration.
    """
    sentence = read_json(folder, "config_sentence_transformers.json")
    return Card(
        dimension=dimension,
        truncate_dim=sentence.get("truncate_dim"),
        prompts=prompts_of(sentence),
        default_prompt_name=sentence.get("default_prompt_name"),
        fingerprint=_fingerprint(folder, engine),
    )


def _fingerprint(folder: str, engine: str) -> str:
    digest = hashlib.sha256(engine.encode())
    for home, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            if name.endswith((*_WEIGHTS, ".json")) or name in _TOKENIZERS:
                path = os.path.join(home, name)
                digest.update(f"{os.path.relpath(path, folder)}:{sha256(path)};".encode())
    return digest.hexdigest()[:32]
