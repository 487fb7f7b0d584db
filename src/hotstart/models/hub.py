"""Download a model from the Hugging Face hub; the only file that does.

Called only where the user asked for it (`pull`, `allow_download=True`). The commit is fixed first
and everything fetched at that commit; huggingface_hub writes each file beside and renames it. The
weights come last, so that a snapshot with weights has everything else.
"""

from __future__ import annotations

import fnmatch
import os
from typing import Any

from hotstart._lazy import require
from hotstart.config import Settings
from hotstart.errors import DownloadFailed, ModelNotFound
from hotstart.files import write_whole
from hotstart.models.description import SHIPPED_GRAPH, SINGLE_WEIGHTS, WEIGHTS_INDEX
from hotstart.models.locate import locate
from hotstart.models.spec import ModelSpec, hub_folder, known_model, repository_of

_SMALL = (
    "config.json",
    "modules.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "[0-9]_*/config.json",
    WEIGHTS_INDEX,
)
_DENSE = "[0-9]_*/model.safetensors"
_SHARDS = "model-*-of-*.safetensors"


def fetch(spec: ModelSpec, settings: Settings) -> str:
    """Bring the files of `spec` into the Hugging Face cache and return their folder.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DownloadFailed: the hub, the network or HF_HUB_OFFLINE stands against it.
        ModelNotFound: the source is a folder, which no hub can bring.
    """
    if spec.names_folder:
        raise ModelNotFound(spec.source, looked=[spec.folder], on_hub=False)
    repository = repository_of(spec.source, spec.kind)
    if settings.offline:
        raise DownloadFailed(
            spec.source, reason="HF_HUB_OFFLINE is set", remedy="Unset it, or copy the model here"
        )
    hub = require("huggingface_hub", extra="hub")
    try:
        commit, files = _fix_commit(hub, spec, repository)
        _remember(repository, spec, commit, files, settings)
        for name in files_to_fetch(files):
            hub.hf_hub_download(repository, name, revision=commit, cache_dir=settings.hub_cache)
    except Exception as error:  # its HTTP library, and so its errors, changes between versions
        reason = str(error).strip().splitlines()[0] or type(error).__name__
        raise DownloadFailed(spec.source, reason=reason) from error
    return locate(spec, settings).folder


def files_to_fetch(files: list[str]) -> list[str]:
    """Return which of a repository's `files` a load needs, the encoder's weights last.

    safetensors, whole or in shards, else the ONNX file: never both, never other formats.
    """
    small = [name for name in files if _matches(name, _SMALL)]
    dense = [name for name in files if fnmatch.fnmatchcase(name, _DENSE)]
    shards = [name for name in files if fnmatch.fnmatchcase(name, _SHARDS)]
    if SINGLE_WEIGHTS in files:
        weights = [SINGLE_WEIGHTS]
    elif WEIGHTS_INDEX in files and shards:
        weights = shards
    else:
        weights = [name for name in files if name.startswith(SHIPPED_GRAPH)]
    return small + dense + weights


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """fnmatch with `*` kept within one folder."""
    return any(
        name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )


def _fix_commit(hub: Any, spec: ModelSpec, repository: str) -> tuple[str, list[str]]:
    known = known_model(spec.source)
    revision = spec.revision or (known.revision if known else "main")
    info = hub.HfApi().model_info(repository, revision=revision)
    return info.sha, [entry.rfilename for entry in info.siblings]


def _remember(
    repository: str, spec: ModelSpec, commit: str, files: list[str], settings: Settings
) -> None:
    """Note what `sources.py` needs to find the snapshot, whole or cut off, without the hub.

    Both in huggingface_hub's own layout: which commit the revision stood at, and that a
    modules.json which was not listed does not exist.
    """
    folder = hub_folder(repository, settings)
    revision = spec.revision or ("main" if known_model(spec.source) is None else commit)
    if revision != commit:
        _write(os.path.join(folder, "refs", revision), commit)
    if "modules.json" not in files:
        _write(os.path.join(folder, ".no_exist", commit, "modules.json"), "")


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_whole(path, text.encode())
