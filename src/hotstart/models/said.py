"""What the files of a model folder say, as JSON, before anybody makes sense of it."""

from __future__ import annotations

import glob
import json
import os
from typing import Any, NamedTuple

from hotstart.errors import ModelDamaged


class Said(NamedTuple):
    """The settings files of one model; an absent one is an empty dict.

    Attributes:
        config: config.json.
        sentence: config_sentence_transformers.json.
        tokenizer: tokenizer_config.json.
        transformer: sentence_bert_config.json, under whichever of its names.
    """

    folder: str
    config: dict[str, Any]
    sentence: dict[str, Any]
    tokenizer: dict[str, Any]
    transformer: dict[str, Any]

    @property
    def model_type(self) -> str:
        """The model's family, as transformers calls it."""
        return str(self.config.get("model_type"))


def read_said(folder: str) -> Said:
    """Return what the settings files of `folder` say; ModelDamaged for one that is no JSON."""
    return Said(
        folder=folder,
        config=read_json(folder, "config.json"),
        sentence=read_json(folder, "config_sentence_transformers.json"),
        tokenizer=read_json(folder, "tokenizer_config.json"),
        transformer=_transformer_config(folder),
    )


def modules_of(folder: str) -> list[tuple[str, str]]:
    """Return (class name, sub-folder) of each module; none of a bare transformer."""
    entries = read_json(folder, "modules.json", default=[])
    return [(entry["type"].rpartition(".")[2], entry["path"]) for entry in entries]


def read_json(folder: str, name: str, default: Any = None) -> Any:
    """Return the JSON of `name`; `default`, else an empty dict, where the file is absent."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {} if default is None else default
    except ValueError as error:
        raise ModelDamaged(path, reason=f"not JSON ({error})") from error


def _transformer_config(folder: str) -> dict[str, Any]:
    """Of the file by whichever of its names (it once carried the family's)."""
    found = sorted(glob.glob(os.path.join(glob.escape(folder), "sentence_*_config.json")))
    return read_json(folder, os.path.basename(found[0])) if found else {}
