"""The registry tables of hotstart.toml, checked key by key; model discovery.

[registry]
memory = "2GB"
[models.churn]
kind = "sklearn"
versions = { v1 = "models/churn-1.skops", v2 = "models/churn-2.skops" }
route = { v1 = 90, v2 = 10 }
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from hotstart.cache import CacheAddress
from hotstart.config import CONFIG_FILE, Table, models_folder, remote_access
from hotstart.engines import ENGINES
from hotstart.engines.remote.address import RemoteAddress, is_remote
from hotstart.errors import ConfigNotNamed, InvalidInput, UnknownVersion
from hotstart.kinds import KINDS, check_kind
from hotstart.kinds.files import SUFFIXES as PICKLES
from hotstart.models.spec import KINDS as MODEL_KINDS
from hotstart.models.spec import repository_of
from hotstart.pool.pool import MOST_LOADS
from hotstart.types import LoadingStrategy

_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")
_VERSIONED = re.compile(rf"(.+)-{_VERSION.pattern}", re.DOTALL)
_PEEK = 4096  # bytes read at either end of a JSON file; Prophet writes its version last
_PROPHETS = re.compile(rb'"__(?:fb)?prophet_version"\s*:')


class DiscoveredFile(NamedTuple):
    """A model file found in a models folder.

    Attributes:
        kind: a name of KINDS.
        path: path of the file.
        version: version in its name, without a leading `v`; None without one.
        pickled: whether it is a pickle, which is loaded only with a configured SHA-256.
    """

    kind: str
    path: str
    version: str | None
    pickled: bool


def discover(folder: str) -> dict[str, tuple[DiscoveredFile, ...]]:
    """Return the models in `folder` by name, each with its versions, the newest last.

    A file is named `<name>.<ending>` or `<name>-<version>.<ending>`. A version is numbers separated
    by points, with an optional `v` before: `churn-1.2.0.skops`, `churn-v2.onnx`. A file without a
    version is older than every file with one. Endings are those of KINDS; a `.json` file must be
    Prophet's. Sub-folders, hidden files and other endings are ignored, and so is a pickle beside a
    file of another ending with equal name and version.

    Raises:
        InvalidInput: two files are the same version of the same model.
    """
    if not os.path.isdir(folder):
        return {}
    models: dict[str, list[DiscoveredFile]] = defaultdict(list)
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        stem, ending = os.path.splitext(entry)
        kind = None if entry.startswith(".") else _kind(path, ending.lower())
        if kind is not None:
            name, version = parse_stem(stem)
            models[name].append(DiscoveredFile(kind, path, version, ending.lower() in PICKLES))
    return {name: _ordered(files) for name, files in sorted(models.items())}


def parse_stem(stem: str) -> tuple[str, str | None]:
    """Return name and version of a file name without its ending. Pure."""
    matched = _VERSIONED.fullmatch(stem)
    return (matched[1], matched[2]) if matched else (stem, None)


def serving(name: str, versions: Sequence[DiscoveredFile], wanted: str | None) -> DiscoveredFile:
    """Return the version `wanted` of the model `name`, or the newest (`v2` equals `2.0`).

    Return the only version of a model with one.

    Raises:
        UnknownVersion: the model has several versions, and none is `wanted`.
    """
    if wanted is None or len(versions) == 1:
        return versions[-1]
    for file in versions:
        if file.version is not None and _order(file.version) == _order(wanted):
            return file
    known = [file.version for file in versions if file.version is not None]
    raise UnknownVersion(name, wanted, known=known)


def _kind(path: str, ending: str) -> str | None:
    for kind, entry in KINDS.items():
        if ending in entry.suffixes and os.path.isfile(path):
            return kind if ending != ".json" or _is_prophets(path) else None
    return None


def _is_prophets(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(_PEEK)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _PEEK))
        return any(_PROPHETS.search(part) for part in (head, file.read(_PEEK)))


def _ordered(files: Sequence[DiscoveredFile]) -> tuple[DiscoveredFile, ...]:
    """Order files by version; drop a pickle beside another file of its version."""
    ordered: dict[tuple[int, ...], DiscoveredFile] = {}
    for each in sorted(files, key=lambda file: file.pickled):
        known = ordered.setdefault(_order(each.version), each)
        if known is not each and known.pickled == each.pickled:
            expected = f"another name or version than {os.path.basename(known.path)}"
            raise InvalidInput("the model file", got=each.path, expected=expected)
    return tuple(ordered[order] for order in sorted(ordered))


def _order(version: str | None) -> tuple[int, ...]:
    """Return the sort key of a version: its numbers without trailing zeros."""
    if version is None:
        return ()
    matched = _VERSION.fullmatch(version)
    if not matched:
        return (-1,)  # `wanted` is given and no file has it
    numbers = [int(number) for number in matched[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


_NONE: Mapping[str, Any] = {}  # read-only by its type; a mappingproxy cannot be pickled
_NAME = re.compile(r"(?=.{1,128}\Z)[A-Za-z0-9][\w.:-]*(/[\w.:-]+)?", re.ASCII)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_PARTS = re.compile(r"(\d+)|(\D+)")
_FILES = (".skops", ".onnx", ".json", ".pkl", ".joblib", ".pickle")


ONLY_VERSION = "1"
"""What the version of a model is called that names none."""


class ModelCheck(NamedTuple):
    """A question with its expected answer, asked before a model serves.

    Attributes:
        input: input of the model.
        output: expected answer; None accepts any answer with finite numbers.
        tolerance: maximal difference of numbers.
    """

    input: Any
    output: Any = None
    tolerance: float = 1e-6


class VersionConfig(NamedTuple):
    """Source and hash of one version."""

    source: str
    sha256: str | None = None


class ModelConfig(NamedTuple):
    """The table `[models.NAME]`; docs/registry.md explains each key."""

    name: str
    kind: str = "embedding"
    versions: Mapping[str, VersionConfig] = _NONE
    version: str | None = None
    route: Mapping[str, float] = _NONE
    shadow: str | None = None
    fallback: str | None = None
    check: Sequence[ModelCheck] = ()
    strategy: str | None = None
    engine: str | None = None
    precision: str | None = None
    revision: str | None = None
    file: str | None = None
    max_length: int | None = None
    truncate_dim: int | None = None
    cache: str | None = None
    allow_download: bool = False
    keep_alive: float | None = None
    load_timeout: float | None = None
    pinned: bool = False
    trusted: Sequence[str] = ()
    options: Mapping[str, Any] = _NONE
    names: Sequence[str] = ()

    @property
    def all_names(self) -> frozenset[str]:
        """The names that mean this model: its own, `names`, and its repository on the hub."""
        repositories = []
        if self.kind in {"embedding", "reranker"}:
            for version in self.versions.values():
                with contextlib.suppress(InvalidInput):  # a folder or an address has none
                    repositories.append(repository_of(version.source, self.kind))
        return frozenset([self.name, *self.names, *repositories])

    @property
    def weights(self) -> Mapping[str, float]:
        """The share of requests that each version answers."""
        return self.route or {self.version or natural_order(self.versions)[-1]: 1.0}


class RegistryConfig(NamedTuple):
    """The tables `[registry]` and `[models.*]`.

    Attributes:
        memory: bytes that all models may take; None for the memory of the machine.
        most_loads: maximal number of concurrent loads.
        watch: whether to reload models whose files change.
        folder: folder of discovered models, by default MODEL_CACHE_DIR; None for no discovery.
        version: serving version of a discovered model with several, by default MODEL_VERSION;
            None for the highest.
    """

    models: Mapping[str, ModelConfig] = _NONE
    memory: int | None = None
    most_loads: int = MOST_LOADS
    watch: bool = False
    folder: str | None = None
    version: str | None = None


def resolve(name: str, models: Iterable[ModelConfig]) -> str | None:
    """Return the registered name of the model that `name` means; None if it means none. Pure.

    Ollama's clients add `:latest` to a name.
    """
    plain = name.removesuffix(":latest")
    return next((model.name for model in models if {name, plain} & model.all_names), None)


def read_config(content: Mapping[str, Any], home: str = ".") -> RegistryConfig:
    """Return the configuration in the tables of `content`; paths are relative to `home`.

    Raises:
        InvalidInput: a key is unknown or has an invalid value.
    """
    top = Table("hotstart.toml", content)
    top.refuse_others(("models", "registry", "remote", "search", "server"))
    table = top.table("registry", at="registry")
    table.refuse_others(RegistryConfig._fields[1:])
    tables = top.table("models", at="models")
    models = {name: read_model(name, tables.table(name).content, home) for name in tables.content}
    _refuse_circles(models)
    defaults = models_folder()
    folder = table.text("folder") or defaults.folder
    return RegistryConfig(
        models=models,
        memory=table.size("memory"),
        most_loads=table.count("most_loads") or MOST_LOADS,
        watch=table.flag("watch"),
        folder=folder and os.path.abspath(os.path.join(home, os.path.expanduser(folder))),
        version=table.text("version") or defaults.version,
    )


def read_model(name: str, content: Mapping[str, Any], home: str = ".") -> ModelConfig:
    """Return the configuration in the table `[models.NAME]`. Errors: see `read_config`."""
    check_name(name)
    table = Table(f"models.{name}", content)
    table.refuse_others((*ModelConfig._fields[1:], "source", "sha256"))
    config = ModelConfig(
        name,
        kind=table.text("kind") or "embedding",
        names=table.texts("names"),
        versions=_versions(table, home),
        version=table.text("version"),
        route=table.weights("route"),
        shadow=table.text("shadow"),
        fallback=table.text("fallback"),
        check=tuple(map(_check, table.tables("check"))),
        strategy=_one_of(table, "strategy", [known.value for known in LoadingStrategy]),
        engine=_one_of(table, "engine", ENGINES),
        precision=_one_of(table, "precision", dict.fromkeys(sum(MODEL_KINDS.values(), ()))),
        revision=table.text("revision"),
        file=table.text("file"),
        max_length=table.count("max_length"),
        truncate_dim=table.count("truncate_dim"),
        cache=table.text("cache"),
        allow_download=table.flag("allow_download"),
        keep_alive=table.number("keep_alive"),
        load_timeout=table.number("load_timeout"),
        pinned=table.flag("pinned"),
        trusted=table.texts("trusted"),
        options=table.table("options").content,
    )
    check_kind(config.kind)
    for key in _IGNORED.get(config.kind, ()):
        if getattr(config, key) is not None:
            expected = f"left out for a model of kind {config.kind}"
            raise InvalidInput(f"models.{name}.{key}", got=getattr(config, key), expected=expected)
    if config.cache is not None:
        CacheAddress.parse(config.cache)
    for other in config.names:
        check_name(other)
    named = {"version": [config.version], "route": config.route, "shadow": [config.shadow]}
    for key, versions in named.items():
        _expect_known(f"models.{name}.{key}", versions, config.versions)
    return config


_IGNORED = {"embedding": ("max_length",), "reranker": ("truncate_dim", "cache")}
"""The keys that a model of a kind would ignore."""


def check_unnamed(config: RegistryConfig) -> None:
    """Check the configuration of a file that nobody named, such as ./hotstart.toml of any folder.

    Raises:
        ConfigNotNamed: a model would run code of the folder, or a key of the environment would be
            sent to an address in the file.
    """
    for name, model in config.models.items():
        for key, got, risk in _risks(model):
            raise ConfigNotNamed(
                f"models.{name}.{key}",
                got=got,
                risk=risk,
                remedy=f"If you trust the file, run: hotstart serve --config {CONFIG_FILE}",
            )


def _risks(model: ModelConfig) -> Iterator[tuple[str, object, str]]:
    """Yield key, value and risk of each setting that a foreign file must not have."""
    if model.kind == "custom":
        yield "kind", "custom", "it runs code"
    if model.trusted:
        yield "trusted", list(model.trusted), "it may run code"
    scheme, _, place = (model.cache or "").partition("?")[0].partition(":")
    path = os.path.realpath(os.path.expanduser(place))
    if scheme == "sqlite" and not path.startswith(os.path.join(os.path.realpath("."), "")):
        yield "cache", model.cache, "it writes a file outside of the folder"
    sources = [version.source for version in model.versions.values()]
    for source in filter(None, [*sources, model.fallback]):
        if source.lower().endswith(PICKLES):
            yield "source", source, "a pickle runs code"
        if is_remote(source):
            address = RemoteAddress.parse(source)
            if address.url and remote_access(address.protocol).key:
                key = f"{address.protocol.upper()}_API_KEY"
                yield "source", source, f"{key} of the environment would be sent there"


def with_fallbacks(models: Mapping[str, ModelConfig]) -> dict[str, ModelConfig]:
    """Return `models` and a model `NAME.fallback` for each fallback that is a source.

    The fallback has the kind of its model. An embedding model handles its fallback itself, because
    the vectors belong to another vector space.
    """
    whole = dict(models)
    for name, model in models.items():
        if model.fallback and model.kind != "embedding" and model.fallback not in models:
            spare = f"{name}.fallback"
            versions = {ONLY_VERSION: VersionConfig(model.fallback)}
            whole[name] = model._replace(fallback=spare)
            whole[spare] = ModelConfig(spare, model.kind, versions, options=model.options)
    return whole


def discovered(config: RegistryConfig) -> dict[str, ModelConfig]:
    """Return the models discovered in the folder of `config`, without the configured ones."""
    if config.folder is None:
        return {}
    return {
        name: _discovered_model(name, versions, config.version)
        for name, versions in discover(config.folder).items()
        if name not in config.models and _NAME.fullmatch(name)
    }


def _discovered_model(
    name: str, files: Sequence[DiscoveredFile], wanted: str | None
) -> ModelConfig:
    kind = files[-1].kind
    versions = {
        each.version or ONLY_VERSION: VersionConfig(each.path)
        for each in files
        if each.kind == kind  # a model of another kind keeps its own settings
    }
    serves = serving(name, [each for each in files if each.kind == kind], wanted)
    return ModelConfig(name, kind, versions, serves.version or ONLY_VERSION)


def check_name(name: str) -> None:
    """Raise InvalidInput for an invalid model name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        expected = (
            "up to 128 letters, digits, '_', '.', ':' and '-', a letter or digit first; "
            "also owner/name"
        )
        raise InvalidInput("a model's name", got=name, expected=expected)


def natural_order(versions: Iterable[str]) -> list[str]:
    """Return `versions` in numeric order: 1.2, 1.10, 2."""
    return sorted(versions, key=lambda v: [(int(n or -1), t) for n, t in _PARTS.findall(v)])


def _versions(table: Table, home: str) -> dict[str, VersionConfig]:
    if ("source" in table.content) == ("versions" in table.content):
        got = [key for key in ("source", "versions") if key in table.content]
        raise InvalidInput(table.where, got=got, expected="either a source or a table of versions")
    label = table.text("version") or ONLY_VERSION
    if "source" in table.content:
        sources = Table(table.where, {label: table.text("source")})
        hashes = Table(table.where, {label: table.text("sha256", _SHA256)})
    else:
        sources = table.table("versions")
        hashes = table.table("sha256")
    if not sources.content:
        raise InvalidInput(sources.where, got={}, expected="at least one version")
    return {
        label: VersionConfig(_source(sources, label, home), hashes.text(label, _SHA256))
        for label in sources.content
    }


def _source(sources: Table, label: str, home: str) -> str:
    """Return a path relative to `home` as absolute; any other source unchanged."""
    source = sources.text(label)
    if not source:
        raise InvalidInput(f"{sources.where}.{label}", got=source, expected="a source")
    path = os.path.abspath(os.path.join(home, os.path.expanduser(source)))
    is_path = source.startswith((".", "/", "~")) or source.endswith(_FILES)
    return path if is_path else source


def _one_of(table: Table, key: str, known: Iterable[str]) -> str | None:
    value = table.text(key)
    if value is not None and value not in known:
        expected = f"one of {', '.join(known)}"
        raise InvalidInput(f"{table.where}.{key}", got=value, expected=expected)
    return value


def _check(table: Table) -> ModelCheck:
    table.refuse_others(ModelCheck._fields)
    if "input" not in table.content:
        raise InvalidInput(table.where, got=sorted(table.content), expected="an input to ask")
    tolerance = table.number("tolerance")
    check = ModelCheck(input=table.content["input"], output=table.content.get("output"))
    return check if tolerance is None else check._replace(tolerance=tolerance)


def _expect_known(where: str, named: Iterable[str | None], known: Iterable[str]) -> None:
    for version in named:
        if version is not None and version not in known:
            raise InvalidInput(where, got=version, expected=f"one of {', '.join(known)}")


def _refuse_circles(models: Mapping[str, ModelConfig]) -> None:
    for name in models:
        trail = [name]
        while (following := models[trail[-1]].fallback) in models:
            if following in trail:
                expected = "a model without a circular fallback"
                raise InvalidInput(f"models.{name}.fallback", got=following, expected=expected)
            assert following is not None
            trail.append(following)
