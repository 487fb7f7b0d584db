"""Download a model from the Hugging Face hub.

Downloads happen only on request (`pull`, `allow_download=True`). The commit is resolved first, and
every file is fetched at that commit. huggingface_hub writes each file atomically. The weights come
last, so a snapshot with weights is complete.
"""

from __future__ import annotations

import fnmatch
import os
from typing import Any

from hotstart._lazy import require
from hotstart.config import Settings
from hotstart.errors import DownloadFailed, ModelNotFound
from hotstart.files import write_whole
from hotstart.models.architectures import FAMILIES
from hotstart.models.description import (
    CHECKPOINT,
    CHECKPOINT_INDEX,
    SINGLE_WEIGHTS,
    WEIGHTS_INDEX,
    read_json,
)
from hotstart.models.locate import locate
from hotstart.models.onnx_files import find_graph
from hotstart.models.spec import ModelSpec, hub_folder, known_model, repository_of

_SMALL = (
    "config.json",
    "modules.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "onnx/tokenizer.json",
    "onnx/tokenizer_config.json",
    "[0-9]_*/config.json",
    "special_tokens_map.json",
    WEIGHTS_INDEX,
    CHECKPOINT_INDEX,
)
_DENSE = ("[0-9]_*/pytorch_model.bin", "[0-9]_*/model.safetensors")
_WEIGHTS = (
    (SINGLE_WEIGHTS, WEIGHTS_INDEX, "model-*-of-*.safetensors"),
    (CHECKPOINT, CHECKPOINT_INDEX, "pytorch_model-*-of-*.bin"),
)


def fetch(spec: ModelSpec, settings: Settings) -> str:
    """Download the files of `spec` into the Hugging Face cache and return their folder.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DownloadFailed: the hub or the network failed, or HF_HUB_OFFLINE is set.
        ModelNotFound: the source is a folder, which cannot be downloaded.
    """
    if spec.names_folder:
        raise ModelNotFound(spec.source, looked=[spec.folder], on_hub=False)
    repository = repository_of(spec.source, spec.kind)
    if settings.offline:
        raise DownloadFailed(
            spec.source,
            reason="HF_HUB_OFFLINE is set",
            remedy="Unset it, or copy the model",
        )
    hub = require("huggingface_hub", extra="hub")
    try:
        commit, files = _resolve_commit(hub, spec, repository)
        _record_snapshot(repository, spec, commit, files, settings)
        path = hub.hf_hub_download(
            repository, "config.json", revision=commit, cache_dir=settings.hub_cache
        )
        model_type = str(read_json(os.path.dirname(path), "config.json").get("model_type"))
        for name in files_to_fetch(files, model_type, spec.file):
            hub.hf_hub_download(repository, name, revision=commit, cache_dir=settings.hub_cache)
    except Exception as error:  # the HTTP library and its errors differ between versions
        reason = str(error).strip().splitlines()[0] or type(error).__name__
        raise DownloadFailed(spec.source, reason=reason) from error
    return locate(spec, settings).folder


def files_to_fetch(files: list[str], model_type: str, file: str | None = None) -> list[str]:
    """Return the repository `files` that a load needs, the encoder's weights last.

    Of a `model_type` whose graph can be built, the weights are safetensors, or else a PyTorch
    checkpoint, each one file or shards. Otherwise, and without both, they are the ONNX file. They
    are the ONNX `file` if one is given.
    """
    graph = file or find_graph(files)
    small = [name for name in files if _matches(name, _SMALL)]
    dense: dict[str, str] = {}
    for pattern in _DENSE:  # the later one is preferred
        dense |= {os.path.dirname(n): n for n in files if fnmatch.fnmatchcase(n, pattern)}
    weights: list[str] = []
    if not file and (model_type in FAMILIES or graph is None):
        weights = _weights(files)
    of_graph = [name for name in files if graph and _is_of_graph(name, graph)]
    return [*small, *dense.values(), *(weights or of_graph)]


def _weights(files: list[str]) -> list[str]:
    for single, index, shards in _WEIGHTS:
        if single in files:
            return [single]
        if index in files:
            return [name for name in files if fnmatch.fnmatchcase(name, shards)]
    return []


def _is_of_graph(name: str, graph: str) -> bool:
    """Return whether `name` is the ONNX file or may be its external data, which any name has."""
    folder, _, base = name.rpartition("/")
    is_beside = folder == os.path.dirname(graph) != "" and "." not in base
    return is_beside or name.startswith(graph)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Return whether `name` matches a pattern; `*` does not match across folders."""
    return any(
        name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )


def _resolve_commit(hub: Any, spec: ModelSpec, repository: str) -> tuple[str, list[str]]:
    known = known_model(spec.source)
    revision = spec.revision or (known.revision if known else "main")
    info = hub.HfApi().model_info(repository, revision=revision)
    return info.sha, [entry.rfilename for entry in info.siblings]


def _record_snapshot(
    repository: str, spec: ModelSpec, commit: str, files: list[str], settings: Settings
) -> None:
    """Record what `locate.py` needs to find a complete or partial snapshot offline.

    In huggingface_hub's layout, record the commit of the revision, and that modules.json does not
    exist if the repository does not list it.
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
