"""What lies in a folder of models, by the names of its files. Nothing is loaded.

`churn-1.2.skops` is version 1.2 of `churn`; `churn.skops` its version 1.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from hotstart.kinds import KINDS

_NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*?)(?:-(?P<version>v?\d+(?:\.\d+)*))?", re.ASCII)
ONLY_VERSION = "1"
"""What the version of a model is called that names none."""

_PEEK = 4096


class Found(NamedTuple):
    """A model's files: its kind, and the path of each version by its label."""

    kind: str
    versions: dict[str, str]


def discover(folder: str) -> dict[str, Found]:
    """Return the models in `folder` by name: `*.skops`, `*.onnx`, and Prophet's `*.json`.

    Pickles are found too, so that a registry can say why it loads none. Where two kinds go by one
    name, the first in the alphabet of file names has it. Nothing where there is no such folder.
    """
    found: dict[str, Found] = {}
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for file in names:
        path = os.path.join(folder, file)
        stem, suffix = os.path.splitext(file)
        match = _NAME.fullmatch(stem)
        kind = _kind_of(path, suffix)
        if kind is None or match is None or not os.path.isfile(path):
            continue
        model = found.setdefault(match["name"], Found(kind, {}))
        if model.kind == kind:
            model.versions.setdefault(match["version"] or ONLY_VERSION, path)
    return found


def _kind_of(path: str, suffix: str) -> str | None:
    for kind, entry in KINDS.items():
        if suffix in entry.suffixes:
            return None if suffix == ".json" and not _is_prophet(path) else kind
    return None


def _is_prophet(path: str) -> bool:
    """By how `prophet.serialize` begins: other files are JSON too."""
    try:
        with open(path, "rb") as file:
            return file.read(_PEEK).startswith(b'{"growth"')
    except OSError:
        return False
