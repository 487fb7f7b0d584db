"""The specification of a model: source, revision, kind, engine, precision, strategy."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, NamedTuple

from hotstart.config import Settings
from hotstart.errors import InvalidInput, WrongKind, check_count
from hotstart.models.catalogue import known_model, near

KINDS = {
    "embedding": ("float32", "bfloat16", "int8"),
    "reranker": ("float32",),
    "sparse": ("float32",),
    "multi_vector": ("float32",),
}
"""The kinds of models, each with its supported precisions.

`bfloat16` is the precision of matrix products; the weights are those of `float32`. The accuracy of
the other kinds in 8 bits and in bfloat16 is not measured yet.
"""


_LONGEST_SOURCE = 4096  # characters: of a path (PATH_MAX of Linux)


class ModelSpec:
    """A model as the user specifies it.

    Two specs are equal if they need the same loaded model. The strategy is not compared, because it
    only decides when the model is loaded.

    Attributes:
        source: a folder (`./name`), a name of the catalogue, or a repository (`owner/name`).
        revision: commit, tag or branch of a hub repository. None is the catalogue's pinned commit,
            or else the branch `main` when it was pulled; a copy of `main` that another program
            has fetched is used where the pinned commit is not on this machine.
        allow_download: whether a load may download missing files from the hub.
        strategy: a key of `hotstart.pool.strategies.STRATEGIES`.
        engine: a key of `hotstart.engines.ENGINES`.
        precision: precision of weights and matrix products, one of the values in KINDS.
        device: device of the torch engine; None for the best available.
        trust_remote_code: whether the torch engine may run code of the repository.
        kind: a key of KINDS.
        max_length: tokens kept of a text, special tokens included; None for the model's own limit.
        file: the ONNX file of the repository to run, such as onnx/model_fp16.onnx; None to build a
            graph over the weights where that is possible, or else for the best one.
    """

    __slots__ = (
        *("source", "revision", "allow_download", "strategy", "engine", "precision", "device"),
        *("trust_remote_code", "kind", "file", "max_length"),
    )

    def __init__(
        self,
        source: str,
        revision: str | None = None,
        *,
        allow_download: bool = False,
        strategy: str = "lazy",
        engine: str = "onnx",
        precision: str = "float32",
        device: str | None = None,
        trust_remote_code: bool = False,
        kind: str = "embedding",
        file: str | None = None,
        max_length: int | None = None,
    ) -> None:
        self.source = source
        self.revision = revision
        self.allow_download = allow_download
        self.strategy = strategy
        self.engine = engine
        self.precision = precision
        self.device = device
        self.trust_remote_code = trust_remote_code
        self.kind = kind
        self.file = file
        self.max_length = max_length
        self._check()

    def _check(self) -> None:
        if not isinstance(self.source, str) or not self.source.strip() or "\0" in self.source:
            raise InvalidInput("source", got=self.source, expected="a folder or a model name")
        if len(self.source) > _LONGEST_SOURCE:
            raise InvalidInput("source", got=self.source, expected="a folder or a model name")
        check_count("max_length", self.max_length, optional=True)
        # The revision and the engine become parts of a path.
        if self.revision is not None and not _is_revision(self.revision):
            raise InvalidInput("revision", got=self.revision, expected="a commit, tag or branch")
        if self.file is not None and not _is_file(self.file):
            expected = "an ONNX file of the repository, such as onnx/model.onnx"
            raise InvalidInput("file", got=self.file, expected=expected)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.engine):
            raise InvalidInput("engine", got=self.engine, expected="the name of an engine")
        if self.kind not in KINDS:
            raise InvalidInput("kind", got=self.kind, expected=f"one of {', '.join(KINDS)}")
        if self.precision not in KINDS[self.kind]:
            expected = f"one of {', '.join(KINDS[self.kind])}, for a model of kind {self.kind}"
            raise InvalidInput("precision", got=self.precision, expected=expected)

    def replace(self, **changes: Any) -> ModelSpec:
        """Return a spec with `changes`."""
        return ModelSpec(**{name: getattr(self, name) for name in self.__slots__} | changes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelSpec) and self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"ModelSpec({values})"

    def _compared(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__ if name != "strategy")

    @property
    def arguments(self) -> str:
        """The arguments of `hotstart models` that name this model, for a shell."""
        options = [
            f"--{name} {value}"
            for name, value, usual in (
                ("revision", self.revision, None),
                ("kind", self.kind, "embedding"),
                ("precision", self.precision, "float32"),
                ("file", self.file, None),
            )
            if value != usual
        ]
        source = self.source
        if not re.fullmatch(r"[\w./~-]+", source):
            import shlex  # only an odd name needs it

            source = shlex.quote(source)
        return " ".join([source, *options])

    @property
    def names_folder(self) -> bool:
        """Whether the source is written as a path: `./name`, `/name`, `~/name`.

        A folder of the current folder is not taken for a model of its name.
        """
        return self.source.startswith((".", "/", "~"))

    @property
    def folder(self) -> str:
        """The source as an absolute path."""
        return os.path.abspath(os.path.expanduser(self.source))


def kind_known(source: str) -> str:
    """Return the kind of a model of the catalogue, a key of KINDS; else `embedding`."""
    known = known_model(source)
    return known.kind if known is not None and known.kind in KINDS else "embedding"


def check_kind(source: str, kind: str) -> None:
    """Raise WrongKind if the catalogue knows the model `source`, and it is not of `kind`.

    A model of dense vectors may have sparse ones and multi-vectors too, as bge-m3.
    """
    known = known_model(source)
    if known is None or known.kind == kind:
        return
    may_have = {"static": ("embedding",), "embedding": ("sparse", "multi_vector")}
    if kind not in may_have.get(known.kind, ()):
        raise WrongKind(source, kind=known.kind, wanted=kind)


def _is_revision(revision: object) -> bool:
    form = r"(?!.*\.\.)\w[\w./-]*"
    return isinstance(revision, str) and re.fullmatch(form, revision) is not None


def _is_file(file: object) -> bool:
    form = r"(?!.*\.\.)(\w[\w.-]*/)?\w[\w.-]*\.onnx"
    return isinstance(file, str) and re.fullmatch(form, file) is not None


DEFAULT_OWNERS = {
    "embedding": "sentence-transformers",
    "reranker": "cross-encoder",
    "sparse": "sentence-transformers",
    "multi_vector": "sentence-transformers",
}
"""Default owners of names without an owner, by model kind, as in sentence-transformers."""

_SHARED = {"openvino": "onnx"}  # both engines read the same graph and weights


def repository_of(source: str, kind: str = "embedding") -> str:
    """Return the hub repository that `source` names.

    Raises:
        InvalidInput: `source` is not a valid repository name.
    """
    known = known_model(source)
    if known is not None:
        return known.repository
    name = source if "/" in source else f"{DEFAULT_OWNERS[kind]}/{source}"
    if not is_repository(name):
        meant = " or ".join(near(source)) or "owner/name"
        expected = f"{meant}, or a folder written as a path: ./name"
        raise InvalidInput("source", got=source, expected=expected)
    return name


def is_repository(name: str) -> bool:
    """Return whether `name` has the form owner/name."""
    form = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
    return ".." not in name and re.fullmatch(form, name) is not None


def hub_folder(repository: str, settings: Settings) -> str:
    """Return the folder of `repository` in the Hugging Face cache."""
    return os.path.join(settings.hub_cache, "models--" + repository.replace("/", "--"))


class Snapshot(NamedTuple):
    """A commit of a repository in the Hugging Face cache; its folder may not exist."""

    repository_folder: str
    commit: str

    @property
    def folder(self) -> str:
        """The folder with the files of the commit."""
        return os.path.join(self.repository_folder, "snapshots", self.commit)


def snapshots(spec: ModelSpec, settings: Settings) -> list[Snapshot]:
    """Return the commits that `spec` may mean, in the order of preference."""
    folder = hub_folder(repository_of(spec.source, spec.kind), settings)
    beside = os.path.join(settings.sentence_transformers_cache, os.path.basename(folder))
    known = known_model(spec.source)
    if spec.revision:
        revisions = [spec.revision]
    else:
        revisions = [known.revision, "main"] if known and known.revision else ["main"]
    return [
        Snapshot(home, _read_ref(home, revision))
        for home in (folder, beside)
        for revision in revisions
    ]


def _read_ref(folder: str, revision: str) -> str:
    """Return the recorded commit of a branch or tag; return a commit unchanged."""
    try:
        with open(os.path.join(folder, "refs", revision), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return revision


def artifact_folder(spec: ModelSpec, settings: Settings) -> str:
    """Return the artifact folder of `spec`, which may not exist."""
    if spec.names_folder:
        name = _folder_name(spec.folder)
    else:
        name = repository_of(spec.source, spec.kind).replace("/", "--")
        if spec.revision:
            name += "@" + _revision_name(spec.revision)
    variant = f"{artifact_engine(spec)}-{spec.precision}"
    if spec.kind != "embedding":
        variant = f"{spec.kind}-{variant}"
    if spec.file:
        variant += "@" + spec.file.replace("/", "--")
    if spec.max_length:
        variant += f"@{spec.max_length}"
    return os.path.join(models_cache(settings), name, variant)


FORMAT = 3
"""The format of artifacts; increased when older artifacts cannot be run unchanged."""


def models_cache(settings: Settings) -> str:
    """Return the folder of the artifacts: versions of hotstart with other formats do not share."""
    return os.path.join(settings.cache_dir, f"models-{FORMAT}")


def compiled_folder(artifact: str) -> str:
    """Return the folder of models compiled from the artifact folder `artifact`."""
    model_folder, variant = os.path.split(artifact)
    models, name = os.path.split(model_folder)
    return os.path.join(os.path.dirname(models), "compiled", f"{name}--{variant}")


def artifact_engine(spec: ModelSpec) -> str:
    """Return the engine in the artifact's name; engines that share an artifact share the name."""
    return _SHARED.get(spec.engine, spec.engine)


def _revision_name(revision: str) -> str:
    """Return `revision` as a file name; with a digest if another revision could have that name."""
    if re.fullmatch(r"[a-z0-9_.-]+", revision):
        return revision
    import hashlib  # deferred: commits and most tags need none

    digest = hashlib.sha256(revision.encode()).hexdigest()[:10]
    return re.sub(r"[^\w.-]", "_", revision) + "--" + digest


def _folder_name(path: str) -> str:
    """Return a readable name for a model folder, unique by a digest of its path."""
    import hashlib  # deferred: only a model named by its folder needs it

    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
    return re.sub(r"[^\w.-]", "_", os.path.basename(path)) + "--" + digest


def holds_static(spec: ModelSpec, settings: Settings) -> bool:
    """Return whether the files of `spec` on this machine are a static embedding model."""
    if spec.names_folder:
        folders = [spec.folder]
    else:
        folders = [snapshot.folder for snapshot in snapshots(spec, settings)]
    return any(is_static(folder) for folder in folders)


def is_static(folder: str) -> bool:
    """Return whether `folder` has a static embedding model, by a look at small files."""
    for name, mark in _STATIC_MARKS:
        with contextlib.suppress(OSError):  # the file may be absent
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                with open(path, "rb") as file:
                    if re.search(mark, file.read(_MARKED)):
                        return True
    return False


_MARKED = 65_536  # bytes
_STATIC_MARKS = (
    ("modules.json", rb"sentence_transformers\.([\w.]*\.)?StaticEmbedding\b"),
    ("config.json", rb'"model_type"\s*:\s*"model2vec"'),
)
