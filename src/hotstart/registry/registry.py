"""Many models by name, each with the readiness that embeddings have. Read this file first.

name ──▶ record: which version answers ──▶ version ──▶ instance in the pool ──▶ the loaded object
         (routing, fallback, shadow)                    (load, reload, unload, memory)
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from hotstart.config import CONFIG_FILE, read_file
from hotstart.errors import HotstartError, MissingExtra
from hotstart.pool.pool import MOST_LOADS, Pool, default_pool
from hotstart.pool.shortage import Shortage, watch_shortage
from hotstart.registry.asking import Asking
from hotstart.registry.config import RegistryConfig, discovered, read_config, with_fallbacks
from hotstart.registry.loading import Loading
from hotstart.registry.shadow import Shadows
from hotstart.registry.version import Version
from hotstart.registry.watch import Watch

logger = logging.getLogger(__name__)


class ModelRegistry(Loading, Asking):
    """Models by name: loaded side by side, versioned, routed, reloaded, and kept within memory.

    Making one loads nothing; any thread may call its methods. Its models live in a pool: that of
    the process, which embedders of the same models share, or one of its own where `memory` or
    `most_loads` is configured.

    Args:
        config: what it holds from the beginning.
        pool: where its models live.
    """

    def __init__(self, config: RegistryConfig | None = None, *, pool: Pool | None = None) -> None:
        self._config = config or RegistryConfig()
        super().__init__(pool or _pool_for(self._config))
        self._shadows = Shadows()
        self._watch: Watch | None = None
        self._shortage: Shortage | None = None
        for model in with_fallbacks({**self._config.models, **discovered(self._config)}).values():
            self._configure(model)

    @classmethod
    def from_config(
        cls, config: str | os.PathLike[str] | Mapping[str, Any] = CONFIG_FILE
    ) -> ModelRegistry:
        """Return the registry that a file, or its content as tables, describes: docs/registry.md.

        Relative paths are taken from the file's folder.

        Raises:
            InvalidInput: it is not there, no TOML, or says what cannot be, naming the key.
        """
        if isinstance(config, Mapping):
            return cls(read_config(config))
        path = os.path.abspath(config)
        return cls(read_config(read_file(path), os.path.dirname(path)))

    def watch(self) -> None:
        """Load models anew when their files change, and stop when the registry is closed.

        Raises:
            MissingExtra: watchfiles is not installed.
        """
        if self._watch is None:
            self._watch = Watch(self._reload_changed)
        self._watch.cover(self._files())

    def relieve_pressure(self) -> None:
        """Unload idle models, the longest unused first, whenever the kernel says memory is short.

        Does nothing where it does not say so, as in many containers: what is left is looked at
        instead, at each load and each use.
        """
        if self._shortage is None:
            room = self._pool.room
            self._shortage = watch_shortage(lambda: room.relieve(1, "memory is short"))

    def close(self) -> None:
        """End what watches, unload every model, and tell the last changes."""
        if self._watch:
            self._watch.close()
        if self._shortage:
            self._shortage.stop()
        self._watch = self._shortage = None
        self.unload_all()
        self._changes.close()

    def __enter__(self) -> ModelRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, names: Iterable[str]) -> list[Version]:
        """What watches begins with the first load."""
        self.relieve_pressure()
        if self._config.watch:
            self._watch_if_installed()
        return super()._start(names)

    def _watch_if_installed(self) -> None:
        """What is only configured is no reason to have no models."""
        try:
            self.watch()
        except MissingExtra as error:
            self._config = self._config._replace(watch=False)  # said once
            logger.warning("Files are not watched: %s", error)

    def _files(self) -> dict[str, list[Version]]:
        """The files that versions are loaded from, and whose they are."""
        files: dict[str, list[Version]] = {}
        for record in list(self._records.values()):
            for label, (source, _) in (record.config.versions if record.config else {}).items():
                if os.path.isabs(source):
                    files.setdefault(source, []).append(record.version(label))
        return files

    def _reload_changed(self, paths: set[str]) -> None:
        """Load what was made from `paths` anew, each in a thread of its own."""
        for path, versions in self._files().items():
            if any(p == path or p.startswith(path + os.sep) for p in paths):
                for version in versions:
                    if version.account.state == "unloaded":
                        continue  # its next load reads the file as it is then
                    threading.Thread(
                        target=_reload, args=(version,), name="hotstart-reload", daemon=True
                    ).start()


def _reload(version: Version) -> None:
    try:
        version.reload()
        logger.info("Reloaded %s %s: its file changed", version.name, version.label)
    except HotstartError as error:
        logger.warning("%s %s serves on as it was: %s", version.name, version.label, error)


def _pool_for(config: RegistryConfig) -> Pool:
    if config.memory is None and config.most_loads == MOST_LOADS:
        return default_pool()
    return Pool(budget=config.memory, most_loads=config.most_loads)
