"""Download a model from the Hugging Face hub.

Downloads happen only on request (`pull`, `allow_download=True`). The commit is resolved first, and
every file is fetched at that commit. config.json and modules.json come first: they tell which
files hotstart will run. The weights come last, so a snapshot with weights is complete.

Files that the hub keeps in Git LFS are fetched here, over HTTP: an interrupted download stays as
`<sha256>.incomplete` beside the blobs of the Hugging Face cache, the next one goes on with it, and
the SHA-256 of the whole file is compared. huggingface_hub fetches the others and makes the links.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hotstart._lazy import require
from hotstart.config import Settings
from hotstart.errors import (
    DownloadFailed,
    HotstartError,
    InvalidInput,
    ModelIncomplete,
    ModelNotFound,
    UnsupportedModel,
)
from hotstart.files import exclusive, write_whole
from hotstart.integrity import sha256
from hotstart.models.architectures import FAMILIES, family_of
from hotstart.models.catalogue import known_model, near
from hotstart.models.configuration import SPECIAL_TOKENS, inside, modules_of, read_json
from hotstart.models.description import describe
from hotstart.models.files import (
    ADAPTER,
    CHECKPOINT,
    CHECKPOINT_INDEX,
    COLBERT_LINEAR,
    SINGLE_WEIGHTS,
    SPARSE_LINEAR,
    WEIGHTS_INDEX,
)
from hotstart.models.late_interaction import COLBERT_SETTINGS
from hotstart.models.locate import ModelLocation, locate
from hotstart.models.modules import ROUTERS
from hotstart.models.onnx_files import external_files, find_graph, is_graph
from hotstart.models.routes import ROUTER_CONFIGS, router_config
from hotstart.models.spec import ModelSpec, hub_folder, is_static, repository_of
from hotstart.types import TOKENIZER

BytesProgress = Callable[[int, int], None]
"""A function that is called with the bytes that are here and the bytes of all files."""

_TOKENIZER = (TOKENIZER, "tokenizer_config.json", SPECIAL_TOKENS)
_SMALL = (
    "config.json",
    "modules.json",
    "router_config.json",
    "sentence_*_config.json",
    "config_sentence_transformers.json",
    *_TOKENIZER,
    "chat_template.jinja",
    ADAPTER,
    SPARSE_LINEAR,
    COLBERT_LINEAR,
    COLBERT_SETTINGS,
)
_SLOW_TOKENIZER = (
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
"""Files of a tokenizer that was saved without tokenizer.json."""

_WEIGHTS = (
    (SINGLE_WEIGHTS, WEIGHTS_INDEX, "model-*-of-*.safetensors"),
    (CHECKPOINT, CHECKPOINT_INDEX, "pytorch_model-*-of-*.bin"),
)
_STATIC = {"model2vec", "StaticEmbedding", "SparseStaticEmbedding"}
"""Families and modules whose weights are run, also beside an ONNX file."""


def complete_location(spec: ModelSpec, settings: Settings) -> ModelLocation | None:
    """Return the location of a copy that can be prepared; None if the hub may have more of it.

    Programs that run other files leave some out: sentence-transformers the folder onnx/, fastembed
    all but the ONNX file. Such a copy may be whole for them and not for hotstart.

    Raises:
        ModelError: the model is named by its folder, which is absent, partial or unsupported.
    """
    try:
        location = locate(spec, settings)
        if spec.engine == "torch" or is_static(location.folder):
            return location
        graph = describe(location.folder, spec.source, spec.kind, spec.file).shipped_graph
    except (ModelNotFound, ModelIncomplete, UnsupportedModel):
        if spec.names_folder:
            raise
        return None
    if graph is None or spec.names_folder:
        return location
    path = os.path.join(location.folder, graph)
    beside = [os.path.join(os.path.dirname(path), name) for name in external_files(path)]
    return location if all(map(os.path.isfile, beside)) else None


def fetch(spec: ModelSpec, settings: Settings, on_progress: BytesProgress | None = None) -> str:
    """Download the files of `spec` into the Hugging Face cache and return their folder.

    Raises:
        MissingExtra: huggingface_hub is not installed.
        DownloadFailed: the hub or the network failed, or HF_HUB_OFFLINE is set.
        ModelNotFound: the source is a folder, which cannot be downloaded.
        ModelIncomplete: the repository lacks files that hotstart needs.
        InvalidInput: the repository has no such ONNX file.
    """
    if spec.names_folder:
        raise ModelNotFound(spec.source, looked=[spec.folder], on_hub=False)
    if settings.offline:
        raise DownloadFailed(
            spec.source,
            reason="HF_HUB_OFFLINE is set",
            remedy=_or_meant(spec, "unset it, or copy the model"),
        )
    hub = require("huggingface_hub", extra="hub")
    with _no_bars():
        try:
            folder = _fetch(hub, spec, settings, on_progress or _ignore)
        except HotstartError:
            raise
        except Exception as error:  # the HTTP library and its errors differ between versions
            raise _failure(spec, error) from error
    if spec.engine == "torch":
        return folder  # takes forms of models that the other engines do not
    try:
        return locate(spec, settings).folder
    except ModelIncomplete as error:
        raise ModelIncomplete(
            spec.source, folder=folder, missing=error.missing, on_hub=True, is_pulled=True
        ) from None


def _ignore(here: int, whole: int) -> None:
    """Do nothing: the default of `on_progress`."""


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep huggingface_hub from drawing bars of its own, one a file."""
    utils = require("huggingface_hub.utils")
    were_off = utils.are_progress_bars_disabled()
    if not were_off:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if not were_off:
            utils.enable_progress_bars()


def _fetch(hub: Any, spec: ModelSpec, settings: Settings, on_progress: BytesProgress) -> str:
    repository = repository_of(spec.source, spec.kind)
    known = known_model(spec.source)
    revision = spec.revision or (known and known.revision) or "main"
    info = hub.HfApi().model_info(repository, revision=revision, files_metadata=True)
    remote = _Repository(hub, repository, settings, info, on_progress)
    if spec.file and spec.file not in remote.sizes:
        found = ", ".join(filter(is_graph, remote.sizes)) or "none"
        raise InvalidInput(
            "file", got=spec.file, expected=f"an ONNX file of {repository} (it has {found})"
        )
    ref = os.path.join(remote.home, "refs", revision)
    if revision != info.sha and not os.path.exists(ref):
        _write(ref, info.sha)  # tells which files a partial download lacks
    if "modules.json" not in remote.sizes:
        _write(os.path.join(remote.home, ".no_exist", info.sha, "modules.json"), "")
    modules = remote.modules()
    first, home = modules[0]
    config = inside(home, "config.json")
    remote.fetch_listed(config)
    family = family_of(read_json(remote.folder, config))
    chosen = files_to_fetch(
        [*remote.sizes],
        first if first in _STATIC else family,
        folders=[folder for _, folder in modules],
        engine=spec.engine,
        code=spec.trust_remote_code,
        file=spec.file,
    )
    remote.expect(chosen)
    for name in chosen:
        remote.fetch(name)
    if revision != info.sha:
        _write(ref, info.sha)  # the copy of an older commit served until here
    return remote.folder


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_whole(path, text.encode())


class _Repository:
    """One commit of a repository of the hub, and its place in the Hugging Face cache.

    Attributes:
        home: the folder of the repository in the cache.
        folder: the folder of the commit.
        sizes: the size of each file, in the order of the hub; 0 if the hub does not say.
    """

    def __init__(
        self, hub: Any, name: str, settings: Settings, info: Any, on_progress: BytesProgress
    ) -> None:
        self._hub = hub
        self._name = name
        self._commit = info.sha
        self._cache = settings.hub_cache
        self._on_progress = on_progress
        self.home = hub_folder(name, settings)
        self.folder = os.path.join(self.home, "snapshots", info.sha)
        self.sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings}
        self._sha256 = {e.rfilename: e.lfs["sha256"] for e in info.siblings if e.lfs}
        self._expected: set[str] = set()
        self._is_planned = False
        self._fetched: list[str] = []
        self._here = 0

    def modules(self) -> list[tuple[str, str]]:
        """Return class and folder of each module, of those inside a Router in its place."""
        self.fetch_listed("modules.json")
        found = []
        for name, path in modules_of(self.folder):
            kind = name.rpartition(".")[2]  # of any package: it only decides what to fetch
            folder = "" if path == "." else path
            types = self._routed(kind, folder)
            found += [(types[each], inside(folder, each)) for each in types] or [(kind, folder)]
        return found or [("Transformer", "")]

    def _routed(self, kind: str, folder: str) -> dict[str, str]:
        """Return the class of each module of a Router, by the folder inside its own."""
        if kind not in ROUTERS:
            return {}
        for name in ROUTER_CONFIGS:
            self.fetch_listed(inside(folder, name))
        config = router_config(self.folder, folder)
        types = config.get("types") or {}
        return {each: str(types[each]).rpartition(".")[2] for each in types}

    def expect(self, names: Iterable[str]) -> None:
        """Count the files `names` to the whole; the progress is reported from now on."""
        self._expected |= {*names}
        self._is_planned = True
        self._report(0)

    def fetch_listed(self, name: str) -> None:
        """Download the file `name` if the repository has it."""
        if name in self.sizes:
            self.fetch(name)

    def fetch(self, name: str) -> None:
        """Download the file `name`; of an ONNX file, link it after its external data."""
        if name in self._fetched:
            return
        self._expected.add(name)
        self._fetched.append(name)
        path = self._fetch_blob(name) if name in self._sha256 else self._link(name)
        self._here += self.sizes[name]
        self._report(0)
        if name.endswith(".onnx"):
            for each in external_files(path):
                self.fetch_listed(inside(os.path.dirname(name), each))
        self._link(name)

    def _link(self, name: str) -> str:
        """Return the file `name` in the folder of the commit, downloaded if its blob is absent."""
        return str(
            self._hub.hf_hub_download(
                self._name, name, revision=self._commit, cache_dir=self._cache
            )
        )

    def _report(self, extra: int) -> None:
        if self._is_planned:
            whole = sum(self.sizes[name] for name in self._expected)
            self._on_progress(self._here + extra, whole)

    def _fetch_blob(self, name: str) -> str:
        """Return the blob of a file in Git LFS, downloaded if it is not there."""
        digest = self._sha256[name]
        blob = os.path.join(self.home, "blobs", digest)
        locks = os.path.join(self._cache, ".locks", os.path.basename(self.home))
        os.makedirs(os.path.dirname(blob), exist_ok=True)
        with exclusive(os.path.join(locks, f"{digest}.lock")):
            if not os.path.exists(blob):
                self._resume(name, f"{blob}.incomplete")
                if sha256(f"{blob}.incomplete") != digest:
                    os.remove(f"{blob}.incomplete")
                    raise OSError(f"the content of {name} is not what the hub lists")
                os.replace(f"{blob}.incomplete", blob)
        return blob

    def _resume(self, name: str, path: str) -> None:
        size = self.sizes[name]
        if os.path.exists(path) and os.path.getsize(path) > size:
            os.remove(path)
        with _Appended(path, self._report) as file:
            if file.tell() < size:
                require("huggingface_hub.file_download").http_get(
                    self._hub.hf_hub_url(self._name, name, revision=self._commit),
                    file,
                    resume_size=file.tell(),
                    headers=require("huggingface_hub.utils").build_hf_headers(),
                    expected_size=size,
                )


class _Appended(io.BufferedWriter):
    """A file that is written on from its end, and reports its size."""

    def __init__(self, path: str, report: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._report = report

    def write(self, content: Any) -> int:
        """Write `content` and report the size."""
        count = super().write(content)
        self._report(self.tell())
        return count


def files_to_fetch(
    files: Sequence[str],
    family: str,
    *,
    folders: Sequence[str] = ("",),
    engine: str = "onnx",
    code: bool = False,
    file: str | None = None,
) -> list[str]:
    """Return the repository `files` that a load needs, the encoder's weights last.

    Of a `family` whose graph can be built, the weights are safetensors, or else a PyTorch
    checkpoint, each one file or shards. Otherwise, and without both, they are the ONNX file.

    Args:
        files: the files of the repository.
        family: the name of the model's family, see `architectures.family_of`.
        folders: the folders of the modules, the transformer's first.
        engine: the engine that runs the model; torch needs weights.
        code: whether the torch engine may run code of the repository.
        file: the ONNX file to run; None for the one of `find_graph`.
    """
    graph = file or find_graph(files)
    has_use = graph is None or engine == "torch" or family in {*FAMILIES, *_STATIC}
    weights = _weights(files, folders[0]) if has_use and not file else []
    shipped = [graph] if graph and not weights else []
    chosen = [
        name for name in files if _is_small(name, ("", *folders)) or (code and name.endswith(".py"))
    ]
    if engine == "torch" or inside(folders[0], TOKENIZER) not in files:
        beside = [inside(os.path.dirname(name), each) for name in shipped for each in _TOKENIZER]
        chosen += [name for name in files if name in beside or _is_slow_tokenizer(name, folders)]
    for folder in folders[1:]:
        chosen += _weights(files, folder)
    return [*dict.fromkeys([*chosen, *weights, *shipped])]


def _is_small(name: str, folders: Iterable[str]) -> bool:
    """Return whether `name` is a configuration or a tokenizer in one of `folders`."""
    folder, _, base = name.rpartition("/")
    return folder in folders and any(fnmatch.fnmatchcase(base, each) for each in _SMALL)


def _is_slow_tokenizer(name: str, folders: Iterable[str]) -> bool:
    folder, _, base = name.rpartition("/")
    return folder in folders and base in _SLOW_TOKENIZER


def _weights(files: Sequence[str], folder: str) -> list[str]:
    """Return the weights in `folder`, with the index of shards."""
    for single, index, shards in _WEIGHTS:
        if inside(folder, single) in files:
            return [inside(folder, single)]
        if inside(folder, index) in files:
            pattern = inside(folder, shards)
            found = [name for name in files if fnmatch.fnmatchcase(name, pattern)]
            return [inside(folder, index), *found]
    return []


def _or_meant(spec: ModelSpec, remedy: str) -> str:
    """Return `remedy`, after the names that may have been meant."""
    meant = " or ".join([] if known_model(spec.source) else near(spec.source))
    return f"Did you mean {meant}? Otherwise {remedy}" if meant else remedy[0].upper() + remedy[1:]


def _failure(spec: ModelSpec, error: Exception) -> DownloadFailed:
    """Return what to tell of `error`, by the answer of the hub if there is one."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    code = response.headers.get("X-Error-Code") if response is not None else None
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0].rstrip(".")
    remedy = None
    repository = repository_of(spec.source, spec.kind)
    if code == "GatedRepo":
        reason = "its owner asks for consent to terms"
        remedy = f"Give it on https://huggingface.co/{repository}, then set HF_TOKEN"
    elif code == "RevisionNotFound":
        reason = f"{repository} has no revision {spec.revision or 'main'}"
        remedy = "Give a commit, tag or branch of the repository with --revision"
    elif status == 404 or code == "RepoNotFound":
        reason = f"the hub has no public model {repository}"
        remedy = _or_meant(spec, "check the name, or set HF_TOKEN for a private model")
    elif status in {401, 403}:
        reason = f"the hub refuses the access (HTTP {status})"
        remedy = "Check HF_TOKEN"
    elif status == 429:
        reason = "the hub limits the number of requests (HTTP 429)"
        remedy = "Pull again in some minutes, or set HF_TOKEN; what is downloaded is kept"
    elif status is not None:
        reason = f"the hub answered HTTP {status}"
        remedy = "Pull again later; what is downloaded is kept"
    elif getattr(error, "errno", None) == errno.ENOSPC:
        remedy = "Free space, or set HF_HUB_CACHE to a folder with more; what is downloaded is kept"
    else:  # no answer
        remedy = _or_meant(spec, "check the name, the network and HF_TOKEN, then pull again")
    return DownloadFailed(spec.source, reason=reason, remedy=remedy)
