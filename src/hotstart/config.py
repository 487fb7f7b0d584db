"""What the environment decides; the only file that reads it, and only when asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from hotstart._lazy import require


class Settings(NamedTuple):
    """What the environment decides.

    Attributes:
        cache_dir: prepared artifacts; HOTSTART_CACHE_DIR, else the platform's cache folder.
        hub_cache: the Hugging Face cache; HF_HUB_CACHE, else HF_HOME/hub, else its default.
        offline: HF_HUB_OFFLINE: even `pull` and `allow_download` must not use the network.
    """

    cache_dir: str
    hub_cache: str
    offline: bool


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environ`, by default the process's own as it is at this moment."""
    env = os.environ if environ is None else environ
    return Settings(
        cache_dir=_cache_dir(env),
        hub_cache=_hub_cache(env),
        offline=env.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"},
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
