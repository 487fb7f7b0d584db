"""Settings from the environment and hotstart.toml; the only file that reads them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.errors import ConfigNotNamed, InvalidInput

CONFIG_FILE = "hotstart.toml"


class Settings(NamedTuple):
    """The settings of the environment.

    Attributes:
        cache_dir: prepared artifacts; HOTSTART_CACHE_DIR, else the platform's cache folder.
        hub_cache: the Hugging Face cache; HF_HUB_CACHE, else HF_HOME/hub, else its default.
        sentence_transformers_cache: SENTENCE_TRANSFORMERS_HOME, else the folder that
            sentence-transformers filled before its version 2.3.
        strategy: HOTSTART_STRATEGY, else `strategy` of `[models.default]` in ./hotstart.toml.
        offline: HF_HUB_OFFLINE: even `pull` and `allow_download` must not use the network.
    """

    cache_dir: str
    hub_cache: str
    sentence_transformers_cache: str
    offline: bool
    strategy: str | None


class RemoteAccess(NamedTuple):
    """URL and key of a remote service."""

    key: str | None
    url: str | None

    def __repr__(self) -> str:
        return f"RemoteAccess(key={'set' if self.key else None}, url={self.url!r})"


class ServerKeys(NamedTuple):
    """The keys of a server; never printed."""

    api_key: str | None
    admin_key: str | None

    def __repr__(self) -> str:
        return f"ServerKeys({'set' if self.api_key else None}, {'set' if self.admin_key else None})"


class ModelsFolder(NamedTuple):
    """The folder of a registry's models.

    Attributes:
        folder: MODEL_CACHE_DIR, absolute; None if it is not set.
        version: MODEL_VERSION, the version that serves if a model has several; None for the newest.
    """

    folder: str | None
    version: str | None


def refuse_telemetry() -> None:
    """Disable the telemetry of ONNX Runtime while it is imported.

    Its telemetry also starts a thread. A forked child would wait for that thread when it exits.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def is_completion() -> bool:
    """Return whether a shell asks, through argcomplete, what may be typed next."""
    return "_ARGCOMPLETE" in os.environ


def allows_colours() -> bool:
    """Return whether a terminal may be sent colours: not with NO_COLOR, or a TERM without them."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def remote_access(protocol: str, environ: Mapping[str, str] | None = None) -> RemoteAccess:
    """Return key and address for a remote engine.

    From OPENAI_API_KEY and OPENAI_BASE_URL (TEI_..., HOTSTART_...), else from `api_key` and
    `base_url` of `[remote.openai]` in ./hotstart.toml.

    Raises:
        ConfigNotNamed: a key of the environment would go to an address of ./hotstart.toml, which
            may be anybody's.
    """
    env = os.environ if environ is None else environ
    prefix = protocol.upper()
    key = env.get(f"{prefix}_API_KEY")
    url = env.get(f"{prefix}_BASE_URL")
    if key is None or url is None:
        table = _here().get("remote", {}).get(protocol, {})
        if key and not url and table.get("base_url"):
            raise ConfigNotNamed(
                f"remote.{protocol}.base_url",
                got=table["base_url"],
                risk=f"{prefix}_API_KEY of the environment would be sent there",
                remedy=f"To send it there, set {prefix}_BASE_URL",
            )
        key, url = key or table.get("api_key"), url or table.get("base_url")
    return RemoteAccess(key, url)


def server_keys(environ: Mapping[str, str] | None = None) -> ServerKeys:
    """Return the keys that requests must carry: HOTSTART_API_KEY, HOTSTART_ADMIN_KEY."""
    env = os.environ if environ is None else environ
    return ServerKeys(env.get("HOTSTART_API_KEY") or None, env.get("HOTSTART_ADMIN_KEY") or None)


def models_folder(environ: Mapping[str, str] | None = None) -> ModelsFolder:
    """Read the folder of a registry's models from `environ`, by default `os.environ`."""
    env = os.environ if environ is None else environ
    folder = env.get("MODEL_CACHE_DIR")
    return ModelsFolder(
        folder=os.path.abspath(os.path.expanduser(folder)) if folder else None,
        version=env.get("MODEL_VERSION") or None,
    )


def indexes_folder() -> str:
    """Return the folder for the indexes of folders that cannot be written."""
    return os.path.join(_cache_dir(os.environ), "indexes")


class SearchSettings(NamedTuple):
    """The `[search]` table: globs of the files to index, and of those to leave out."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]


_LARGEST = 1_000_000  # bytes of the configuration of a folder, which may be anybody's


def search_settings(folder: str) -> SearchSettings:
    """Return the `[search]` table of `folder`/hotstart.toml, empty if there is none.

    Raises:
        InvalidInput: the file is no TOML, or a key is unknown or has an invalid value.
    """
    path = os.path.join(folder, CONFIG_FILE)
    if not os.path.isfile(path):
        return SearchSettings((), ())
    if os.path.getsize(path) > _LARGEST:
        raise InvalidInput("the configuration", got=path, expected=f"at most {_LARGEST} bytes")
    table = Table(path, read_file(path)).table("search", at="search")
    table.refuse_others(SearchSettings._fields)
    return SearchSettings(table.texts("include"), table.texts("exclude"))


def git_environment() -> dict[str, str]:
    """Return the environment in which git lists the files of a folder that may be anybody's.

    Without the variables that a hook of git sets, which name another repository, and without a way
    to the network: a sparse checkout would fetch what it lacks.
    """
    env = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return env | {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_ALLOW_PROTOCOL": "none"}


_OF_A_HOOK = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"}


def git_config_files() -> list[str]:
    """Return the configuration files of git that hold for every repository, the last decides."""
    system = [] if os.environ.get("GIT_CONFIG_NOSYSTEM") else ["/etc/gitconfig"]
    chosen = os.environ.get("GIT_CONFIG_GLOBAL")
    if chosen is not None:
        return [*system, chosen]
    return [*system, _git_file("config"), os.path.expanduser("~/.gitconfig")]


def git_ignore_file() -> str:
    """Return the file of patterns that git reads where its configuration names none."""
    return _git_file("ignore")


def _git_file(name: str) -> str:
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join("~", ".config")
    return os.path.join(os.path.expanduser(home), "git", name)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the current `os.environ`."""
    env = os.environ if environ is None else environ
    return Settings(
        cache_dir=_cache_dir(env),
        hub_cache=_hub_cache(env),
        sentence_transformers_cache=_sentence_transformers_cache(env),
        offline=env.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"},
        strategy=env.get("HOTSTART_STRATEGY") or _strategy(_here()),
    )


def _cache_dir(env: Mapping[str, str]) -> str:
    chosen = env.get("HOTSTART_CACHE_DIR")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    if sys.platform == "linux":  # the value of platformdirs, whose import takes 5 ms
        home = env.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        return os.path.join(os.path.expanduser(home), "hotstart")
    return str(require("platformdirs").user_cache_dir("hotstart", appauthor=False))


def _hub_cache(env: Mapping[str, str]) -> str:
    """Return the hub cache in the order of huggingface_hub.constants, without importing it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return os.path.expanduser(env[name])
    home = env.get("HF_HOME") or os.path.join(
        env.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface"
    )
    return os.path.expanduser(os.path.join(home, "hub"))


def _sentence_transformers_cache(env: Mapping[str, str]) -> str:
    chosen = env.get("SENTENCE_TRANSFORMERS_HOME")
    if not chosen:
        home = env.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        torch = env.get("TORCH_HOME") or os.path.join(home, "torch")
        chosen = os.path.join(torch, "sentence_transformers")
    return os.path.abspath(os.path.expanduser(chosen))


def _strategy(content: Mapping[str, Any]) -> str | None:
    """Return the strategy of the configuration file."""
    strategy = content.get("models", {}).get("default", {}).get("strategy")
    return None if strategy is None else str(strategy)


def _here() -> dict[str, Any]:
    """Return the content of ./hotstart.toml, empty if there is none."""
    return read_file(CONFIG_FILE) if os.path.isfile(CONFIG_FILE) else {}


def read_file(path: str) -> dict[str, Any]:
    """Return the content of a TOML file; raise InvalidInput if it is absent or invalid."""
    if not os.path.isfile(path):
        raise InvalidInput("the configuration", got=path, expected="a file that is there")
    tomllib = require("tomllib" if sys.version_info >= (3, 11) else "tomli")
    with open(path, "rb") as file:
        try:
            content: dict[str, Any] = tomllib.load(file)
        except ValueError as error:  # no TOML, or no UTF-8
            raise InvalidInput(path, got=str(error), expected="a TOML file") from error
    return content


_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([KMGT]?)(i?)B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def bytes_of(text: str) -> int:
    """Return the bytes of a size such as `2GB` or `512MiB` (powers of 1000 and 1024).

    Raises:
        ValueError: `text` is not a size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(text)
    number, prefix, binary = match.groups()
    power: int = _POWERS[(prefix or "").upper()]
    return round(float(number) * (1024.0 if binary else 1000.0) ** power)


class Table:
    """A TOML table; each method checks type and range.

    Each method returns None, or an empty value, for an absent key, and raises InvalidInput for a
    value of another type or range.
    """

    def __init__(self, where: str, content: object) -> None:
        if not isinstance(content, Mapping):
            raise InvalidInput(where, got=content, expected="a table")
        self.where = where
        self.content: Mapping[str, Any] = content

    def refuse_others(self, known: Iterable[str]) -> None:
        """Raise InvalidInput for a key that is not in `known`."""
        for key in self.content:
            if key not in known:
                expected = f"one of {', '.join(sorted(known))}"
                raise InvalidInput(f"a key of [{self.where}]", got=key, expected=expected)

    def table(self, key: str, at: str | None = None) -> Table:
        """Return the table `key`; messages call it `at`, by default a key of this table."""
        return Table(at or f"{self.where}.{key}", self.content.get(key) or {})

    def tables(self, key: str) -> list[Table]:
        """Return the tables of the list `key`."""
        entries = self._take(key, list, "a list of tables") or []
        return [Table(f"{self.where}.{key}[{n}]", entry) for n, entry in enumerate(entries)]

    def text(self, key: str, form: re.Pattern[str] | None = None) -> str | None:
        """Return a non-empty string that matches `form`, if given."""
        value = self._take(key, str, "a text")
        if value is not None and (not value or (form and not form.fullmatch(value))):
            expected = f"a text of the form {form.pattern}" if form else "a text that is not empty"
            raise self._refused(key, value, expected)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        entries = self._take(key, list, "a list of texts") or []
        if not all(isinstance(entry, str) for entry in entries):
            raise self._refused(key, entries, "a list of texts")
        return tuple(entries)

    def flag(self, key: str) -> bool:
        """Return a boolean, false for an absent key."""
        return bool(self._take(key, bool, "true or false"))

    def count(self, key: str) -> int | None:
        """Return a positive integer."""
        value = self._take(key, int, "a whole number above 0")
        if value is not None and (isinstance(value, bool) or value < 1):
            raise self._refused(key, value, "a whole number above 0")
        return value

    def number(self, key: str) -> float | None:
        """Return a number of at least 0, for example seconds."""
        value = self._take(key, (int, float), "a number")
        if value is not None and (isinstance(value, bool) or not 0 <= value < float("inf")):
            raise self._refused(key, value, "a number of at least 0")
        return value

    def size(self, key: str) -> int | None:
        """Return a number of bytes, written as an integer or as a string such as 2GB or 512MiB."""
        value = self._take(key, (int, str), "a size such as 2GB")
        if value is None:
            return None
        try:
            return bytes_of(str(value))
        except ValueError:
            raise self._refused(key, value, "a size such as 2GB or 512MiB") from None

    def weights(self, key: str) -> dict[str, float]:
        """Return numbers of at least 0 by name; at least one is positive."""
        table = self.table(key)
        taken = {name: table.number(name) or 0.0 for name in table.content}
        if taken and not any(taken.values()):
            raise self._refused(key, taken, "weights of which one is above 0")
        return taken

    def _take(self, key: str, form: type | tuple[type, ...], expected: str) -> Any:
        value = self.content.get(key)
        if value is not None and not isinstance(value, form):
            raise self._refused(key, value, expected)
        return value

    def _refused(self, key: str, got: object, expected: str) -> InvalidInput:
        return InvalidInput(f"{self.where}.{key}", got=got, expected=expected)
