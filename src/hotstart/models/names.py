"""What a model is called: in the hub, and as a folder of the cache. No look at the disk."""

from __future__ import annotations

import os
import re

from hotstart.config import Settings
from hotstart.errors import InvalidInput
from hotstart.models.catalog import known_model
from hotstart.models.spec import ModelSpec

DEFAULT_OWNERS = {"embedding": "sentence-transformers", "reranker": "cross-encoder"}
"""Of names without an owner, as sentence-transformers does, by the kind of the model."""

_SHARED = {"openvino": "onnx"}  # reads the same graph and weights


def repository_of(source: str, kind: str = "embedding") -> str:
    """Return the hub repository that `source` names; InvalidInput where it can name none."""
    known = known_model(source)
    if known is not None:
        return known.repository
    name = source if "/" in source else f"{DEFAULT_OWNERS[kind]}/{source}"
    if ".." in name or not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name):
        raise InvalidInput("source", got=source, expected="a folder, or a name such as owner/name")
    return name


def hub_folder(repository: str, settings: Settings) -> str:
    """Return the folder of `repository` in the Hugging Face cache."""
    return os.path.join(settings.hub_cache, "models--" + repository.replace("/", "--"))


def artifact_folder(spec: ModelSpec, settings: Settings) -> str:
    """Return where the artifact of `spec` is kept, whether or not it is there."""
    if spec.names_folder:
        name = _folder_name(spec.folder)
    else:
        name = repository_of(spec.source, spec.kind).replace("/", "--")
        if spec.revision:
            name += "@" + spec.revision.replace("/", "_")
    variant = f"{artifact_engine(spec)}-{spec.precision}"
    if spec.kind != "embedding":
        variant = f"{spec.kind}-{variant}"
    return os.path.join(settings.cache_dir, "models", name, variant)


def compiled_folder(artifact: str) -> str:
    """Return where an engine keeps what it compiles from the artifact folder `artifact`."""
    home, variant = os.path.split(artifact)
    models, name = os.path.split(home)
    return os.path.join(os.path.dirname(models), "compiled", f"{name}--{variant}")


def artifact_engine(spec: ModelSpec) -> str:
    """Return the engine that the artifact of `spec` is named after: those that share one do."""
    return _SHARED.get(spec.engine, spec.engine)


def _folder_name(path: str) -> str:
    """A readable name for a model folder, told apart from others of the same name by its path."""
    import hashlib  # only a model named by its folder needs it

    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return re.sub(r"[^\w.-]", "_", os.path.basename(path)) + "--" + mark
