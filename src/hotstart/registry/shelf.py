"""The models of a registry by name: how they come there, and what is told of them."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from hotstart.errors import UnknownModel
from hotstart.pool.pool import Pool
from hotstart.registry.binding import Opened, open_made, open_version
from hotstart.registry.config import ModelConfig, VersionConfig, check_name
from hotstart.registry.events import Change, Changes, Step
from hotstart.registry.model import Entry, Record
from hotstart.registry.version import Version
from hotstart.telemetry import Figure


class Shelf:
    """Records by name. Whoever adds one holds the lock; to look needs none."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._records: dict[str, Record] = {}
        self._lock = threading.RLock()
        self._changes = Changes()
        self._serial = itertools.count()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=functools.partial(_forget, weakref.ref(self)))

    # What is told -----------------------------------------------------------------------------

    def entries(self) -> dict[str, Entry]:
        """Return what is known of each model at this moment, by name."""
        return {name: record.entry for name, record in list(self._records.items())}

    def entry(self, name: str) -> Entry:
        """Return what is known of the model `name` at this moment. UnknownModel where there is
        none."""
        return self._record(name).entry

    def is_loaded(self, name: str) -> bool:
        """Return whether the model answers at once. UnknownModel where there is none."""
        return self._record(name).entry.status == "ready"

    @property
    def loaded_models(self) -> list[str]:
        """The names of the models that answer at once."""
        return [name for name, entry in self.entries().items() if entry.status == "ready"]

    @property
    def failed_models(self) -> dict[str, str]:
        """Why a model could not be loaded, and what to do about it, by name."""
        return self._told("failed")

    @property
    def skipped_models(self) -> dict[str, str]:
        """Which model was skipped for want of an optional dependency, and how to install it."""
        return self._told("skipped")

    def on_change(self, callback: Callable[[Change], object]) -> None:
        """Have `callback` called with each change of a model's state, in order.

        A thread of its own calls it, so that it may ask the registry whatever it likes.
        """
        self._changes.listen(Change, callback)

    def on_progress(self, callback: Callable[[Step], object]) -> None:
        """Have `callback` called with each step of each load, in order with `on_change`'s."""
        self._changes.listen(Step, callback)

    def figures(self) -> Iterator[Figure]:
        """Yield what is counted of each version, and what the models count themselves."""
        for name, record in list(self._records.items()):
            for version in record.versions:
                labels = {"model": name, "version": version.label}
                yield Figure(
                    *("hotstart_model_memory_bytes", "gauge", "Memory it takes, about"),
                    *(version.memory, labels),
                )
                yield from version.figures.read(labels, version.uses)
                if hasattr(version.model, "figures"):  # an embedder counts its cache's hits
                    for figure in version.model.figures():
                        yield figure._replace(labels={**labels, **figure.labels})

    def _told(self, status: str) -> dict[str, str]:
        entries = self.entries().items()
        return {name: str(e.last_error) for name, e in entries if e.status == status}

    def _record(self, name: str) -> Record:
        record = self._records.get(name)
        if record is None:
            raise UnknownModel(name, known=list(self._records))
        return record

    # How models come here -------------------------------------------------------------------------

    def set_model(
        self, name: str, model: Any, model_type: str = "custom", version: str = "1.0.0"
    ) -> None:
        """Hold `model`, an object made by the program, as `version` of `name`, and let it serve.

        It is never unloaded to make room. A version of that name is replaced; any others stay, for
        `rollback` and `set_route`.

        Raises:
            InvalidInput: the name, or the type, cannot be one.
        """
        made = self._made(name, model_type, version, lambda: model, pinned=True)
        made.wait()
        self._serve(name, model_type, made)

    def get_or_create(
        self, name: str, factory: Callable[[], Any], model_type: str = "custom"
    ) -> Any:
        """Return the model `name`; where there is none, what `factory` makes, kept from now on.

        However many ask at once, the factory is called once; after a failure, again by the next who
        asks when the back-off is over.

        Raises:
            HotstartError: the factory failed, its error chained.
        """
        if name not in self._records:
            with self._lock:
                if name not in self._records:
                    made = self._made(name, model_type, "1.0.0", factory, pinned=False)
                    self._serve(name, model_type, made)
        version = self._records[name].choose(None)
        model = version.wait()
        version.count_use()
        return model

    def add_version(
        self, name: str, version: str, source: str, *, sha256: str | None = None
    ) -> None:
        """Add a version to a configured model. It answers nothing before `set_route` says so.

        Raises:
            UnknownModel: there is no such model in the configuration.
        """
        record = self._record(name)
        with self._lock:
            config = record.config
            if config is None:
                raise UnknownModel(name, known=[n for n, r in self._records.items() if r.config])
            added = {**config.versions, version: VersionConfig(source, sha256)}
            record.config = config._replace(versions=added)
            self._add(record, self._configured(record.config, version))

    def _configure(self, config: ModelConfig) -> None:
        """Hold the versions of `config`; nothing is loaded."""
        with self._lock:
            record = Record(config.name, config.kind, config)
            record.fallback = None if config.kind == "embedding" else config.fallback
            for label in config.versions:
                record.add(self._configured(config, label))
            record.shadow = record.version(config.shadow) if config.shadow else None
            record.set_route(config.weights)
            self._records[config.name] = record

    def _configured(self, config: ModelConfig, label: str) -> Version:
        key = (config.name, label, next(self._serial), id(self))
        open_ = functools.partial(open_version, config, label, self._pool, key)
        return Version(config.name, label, open_, self._changed, self._stepped)

    def _made(
        self, name: str, kind: str, label: str, make: Callable[[], Any], *, pinned: bool
    ) -> Version:
        check_name(name)
        key = (name, label, next(self._serial), id(self))

        def open_() -> Opened:
            return open_made(name, kind, make, self._pool, key, pinned=pinned)

        version = Version(name, label, open_, self._changed, self._stepped, held=pinned)
        version.opened()  # what cannot be is refused here
        return version

    def _serve(self, name: str, kind: str, version: Version) -> None:
        with self._lock:
            record = self._records.get(name) or Record(name, kind)
            self._add(record, version)
            record.set_route({version.label: 1.0})
            self._records[name] = record
            self._changed(version)

    def _add(self, record: Record, version: Version) -> None:
        """Have `record` hold `version`; what it takes the place of ends when its calls do."""
        replaced = record.add(version)
        if replaced is not None:
            key = replaced.opened().key
            threading.Thread(target=self._pool.drop, args=(key,), daemon=True).start()

    def _changed(self, version: Version) -> None:
        """Tell anew what is known of a version's model. Called under its instance's lock."""
        record = self._records.get(version.name)
        if record is not None:
            record.compose()
            account = version.account
            told = (version.name, version.label, account.status, account.reason)
            self._changes.note(Change(*told, record.entry, time.time()))

    def _stepped(self, version: Version, stage: str, fraction: float) -> None:
        self._changes.note(Step(version.name, version.label, stage, fraction, time.time()))


def _forget(reference: weakref.ref[Shelf]) -> None:
    """In a forked child nobody else holds the lock."""
    shelf = reference()
    if shelf is not None:
        shelf._lock = threading.RLock()
