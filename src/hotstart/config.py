"""What the environment decides; the only file that reads it, and only when asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.errors import InvalidInput

CONFIG_FILE = "hotstart.toml"


class Settings(NamedTuple):
    """What the environment decides.

    Attributes:
        cache_dir: prepared artifacts; HOTSTART_CACHE_DIR, else the platform's cache folder.
        hub_cache: the Hugging Face cache; HF_HUB_CACHE, else HF_HOME/hub, else its default.
        strategy: HOTSTART_STRATEGY, else `strategy` of `[models.default]` in ./hotstart.toml.
        offline: HF_HUB_OFFLINE: even `pull` and `allow_download` must not use the network.
    """

    cache_dir: str
    hub_cache: str
    offline: bool
    strategy: str | None


class RemoteAccess(NamedTuple):
    """What a protocol's service needs: the secret, never printed, and where it is, if not told."""

    key: str | None
    url: str | None

    def __repr__(self) -> str:
        return f"RemoteAccess(key={'set' if self.key else None}, url={self.url!r})"


class ServerKeys(NamedTuple):
    """The secrets of a server; never printed."""

    api_key: str | None
    admin_key: str | None

    def __repr__(self) -> str:
        return f"ServerKeys({'set' if self.api_key else None}, {'set' if self.admin_key else None})"


class ModelsFolder(NamedTuple):
    """Where the models of a registry lie.

    Attributes:
        folder: MODEL_CACHE_DIR, absolute; None where it is not set.
        version: MODEL_VERSION, the version that serves where a model has several; None: the newest.
    """

    folder: str | None
    version: str | None


def refuse_telemetry() -> None:
    """Have ONNX Runtime send nothing; for the moment before it is imported.

    Its telemetry also runs a thread, for which a forked child would wait at its end for ever.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def remote_access(protocol: str, environ: Mapping[str, str] | None = None) -> RemoteAccess:
    """Return key and address for a remote engine.

    From OPENAI_API_KEY and OPENAI_BASE_URL (TEI_..., HOTSTART_...), else from `api_key` and
    `base_url` of `[remote.openai]` in ./hotstart.toml.
    """
    env = os.environ if environ is None else environ
    prefix = protocol.upper()
    key, url = env.get(f"{prefix}_API_KEY"), env.get(f"{prefix}_BASE_URL")
    if key is None or url is None:
        table = _here().get("remote", {}).get(protocol, {})
        key, url = key or table.get("api_key"), url or table.get("base_url")
    return RemoteAccess(key, url)


def server_keys(environ: Mapping[str, str] | None = None) -> ServerKeys:
    """Return the keys that requests have to bring: HOTSTART_API_KEY, HOTSTART_ADMIN_KEY."""
    env = os.environ if environ is None else environ
    return ServerKeys(env.get("HOTSTART_API_KEY") or None, env.get("HOTSTART_ADMIN_KEY") or None)


def models_folder(environ: Mapping[str, str] | None = None) -> ModelsFolder:
    """Read from `environ`, by default the process's own, where the models of a registry lie."""
    env = os.environ if environ is None else environ
    folder = env.get("MODEL_CACHE_DIR")
    return ModelsFolder(
        folder=os.path.abspath(os.path.expanduser(folder)) if folder else None,
        version=env.get("MODEL_VERSION") or None,
    )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the process's own as it is at this moment."""
    env = os.environ if environ is None else environ
    return Settings(
        cache_dir=_cache_dir(env),
        hub_cache=_hub_cache(env),
        offline=env.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"},
        strategy=env.get("HOTSTART_STRATEGY") or _strategy(_here()),
    )


def _cache_dir(env: Mapping[str, str]) -> str:
    chosen = env.get("HOTSTART_CACHE_DIR")
    if chosen:
        return os.path.abspath(os.path.expanduser(chosen))
    if sys.platform == "linux":  # as platformdirs has it, without the 5 ms of importing it
        home = env.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
        return os.path.join(os.path.expanduser(home), "hotstart")
    return str(require("platformdirs").user_cache_dir("hotstart", appauthor=False))


def _hub_cache(env: Mapping[str, str]) -> str:
    """The order of huggingface_hub.constants, without the import."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if env.get(name):
            return os.path.expanduser(env[name])
    home = env.get("HF_HOME") or os.path.join(
        env.get("XDG_CACHE_HOME") or os.path.join("~", ".cache"), "huggingface"
    )
    return os.path.expanduser(os.path.join(home, "hub"))


def _strategy(content: Mapping[str, Any]) -> str | None:
    """The strategy that the configuration file names."""
    strategy = content.get("models", {}).get("default", {}).get("strategy")
    return None if strategy is None else str(strategy)


def _here() -> dict[str, Any]:
    """What ./hotstart.toml says, nothing where there is none."""
    return read_file(CONFIG_FILE) if os.path.isfile(CONFIG_FILE) else {}


def read_file(path: str) -> dict[str, Any]:
    """Return what a configuration file says; InvalidInput where it is absent or no TOML."""
    if not os.path.isfile(path):
        raise InvalidInput("the configuration", got=path, expected="a file that is there")
    tomllib = require("tomllib" if sys.version_info >= (3, 11) else "tomli")
    with open(path, "rb") as file:
        try:
            content: dict[str, Any] = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(path, got=str(error), expected="a TOML file") from error
    return content
