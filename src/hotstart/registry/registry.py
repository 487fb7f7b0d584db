"""`ModelRegistry`: many models by name. Read this file first.

It is one class and so one file: each method is short and delegates to the registered models.

name ──▶ model: which version answers ──▶ version ──▶ instance in the pool ──▶ the loaded object
         (routing, fallback, shadow)                    (load, reload, unload, memory)
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hotstart.concurrency import Deadline, reset_after_fork
from hotstart.config import CONFIG_FILE, read_file
from hotstart.errors import HotstartError, InvalidInput, MissingExtra, UnknownModel
from hotstart.pool.memory import MemoryPressureMonitor, watch_memory_pressure
from hotstart.pool.pool import MOST_LOADS, Pool, default_pool
from hotstart.registry.binding import Served, bind_factory, bind_version
from hotstart.registry.config import (
    ModelConfig,
    RegistryConfig,
    VersionConfig,
    check_name,
    discovered,
    read_config,
    resolve,
    with_fallbacks,
)
from hotstart.registry.events import ChangeEvents, LoadStep, StateChange
from hotstart.registry.model import ChosenVersion, Prediction, RegisteredModel, RegisteredModelInfo
from hotstart.registry.shadow import ShadowTraffic
from hotstart.registry.version import Version
from hotstart.telemetry import Metric
from hotstart.watch import Watch, steps_to

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions
    from hotstart.scoring import RankOptions

logger = logging.getLogger(__name__)


class ModelRegistry:
    """Models by name: loaded concurrently, versioned, routed, reloaded, within a memory budget.

    The constructor loads nothing; the methods are thread-safe. The models live in the pool of the
    process, which embedders share, or in a separate pool if `memory` or `most_loads` is configured.

    Args:
        config: the configured models.
        pool: owner of the loaded models.
    """

    def __init__(self, config: RegistryConfig | None = None, *, pool: Pool | None = None) -> None:
        self._config = config or RegistryConfig()
        self._pool = pool or _pool_for(self._config)
        self._models: dict[str, RegisteredModel] = {}
        self._lock = threading.RLock()  # for writers of _models; readers need no lock
        self._changes = ChangeEvents()
        self._serial = itertools.count()
        reset_after_fork(self)
        self._shadows = ShadowTraffic()
        self._watch: Watch | None = None
        self._shortage: MemoryPressureMonitor | None = None
        configs = with_fallbacks({**self._config.models, **discovered(self._config)})
        for model_config in configs.values():
            self._configure(model_config)

    @classmethod
    def from_config(
        cls, config: str | os.PathLike[str] | Mapping[str, Any] = CONFIG_FILE
    ) -> ModelRegistry:
        """Return the registry of a configuration file or of its tables; see docs/registry.md.

        Paths are relative to the folder of the file.

        Raises:
            InvalidInput: the file is absent or invalid; the message names the key.
        """
        if isinstance(config, Mapping):
            return cls(read_config(config))
        path = os.path.abspath(config)
        return cls(read_config(read_file(path), os.path.dirname(path)))

    # What is known -------------------------------------------------------------------------

    def models(self) -> dict[str, RegisteredModelInfo]:
        """Return the current status of each model, by name."""
        return {name: model.info for name, model in list(self._models.items())}

    def info(self, name: str) -> RegisteredModelInfo:
        """Return the current status of a model. Raises UnknownModel for an unknown name."""
        return self._model(name).info

    def resolve(self, name: str) -> str:
        """Return the registered name of the model that `name` means.

        `name` is registered, one of the model's `names`, its repository on the hub, or one of
        these with `:latest`.

        Raises:
            UnknownModel: it means none.
        """
        if name in self._models:
            return name
        configs = [model.config for model in list(self._models.values()) if model.config]
        found = resolve(name, configs)
        return found if found is not None else self._model(name).name

    def is_loaded(self, name: str) -> bool:
        """Return whether the model is ready. Raises UnknownModel for an unknown name."""
        return self._model(name).info.status == "ready"

    @property
    def loaded_models(self) -> list[str]:
        """The names of the models that are ready."""
        return [name for name, info in self.models().items() if info.status == "ready"]

    @property
    def failed_models(self) -> dict[str, str]:
        """The error and its remedy of each model whose load failed, by name."""
        return self._errors("failed")

    @property
    def skipped_models(self) -> dict[str, str]:
        """The missing optional dependency of each skipped model, by name."""
        return self._errors("skipped")

    def on_change(self, callback: Callable[[StateChange], object]) -> None:
        """Call `callback` with each change of a model's state, in order.

        A separate thread calls it, so that it may call the registry.
        """
        self._changes.listen(StateChange, callback)

    def on_progress(self, callback: Callable[[LoadStep], object]) -> None:
        """Call `callback` with each step of each load, in order with state changes."""
        self._changes.listen(LoadStep, callback)

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of each version, and those that the models keep."""
        for name, model in list(self._models.items()):
            for version in model.versions:
                labels = {"model": name, "version": version.label}
                yield Metric(
                    name="hotstart_model_memory_bytes",
                    kind="gauge",
                    help="Approximate memory of the version",
                    value=version.memory,
                    labels=labels,
                )
                yield from version.metrics.read(labels, version.uses)
                for figure in version.loaded.metrics() if version.loaded else ():
                    yield figure._replace(labels={**labels, **figure.labels})

    # Models that the program makes ---------------------------------------------------------

    def set_model(
        self, name: str, model: Any, kind: str = "custom", version: str = "1.0.0"
    ) -> None:
        """Register an object of the program as `version` of `name`, and route requests to it.

        The object is never evicted. A version of that label is replaced; other versions stay for
        `rollback` and `set_route`.

        Raises:
            InvalidInput: the name or the kind is invalid.
        """
        added = self._bind(name, kind, version, lambda: model, pinned=True)
        added.wait()
        self._serve(name, kind, added)

    def get_or_create(self, name: str, factory: Callable[[], Any], kind: str = "custom") -> Any:
        """Return the model `name`, creating it with `factory` if there is none.

        Concurrent calls run the factory once. After a failure, the next call after the back-off
        runs it again.

        Raises:
            HotstartError: the factory failed, its error chained.
        """
        if name not in self._models:
            with self._lock:
                if name not in self._models:
                    created = self._bind(name, kind, "1.0.0", factory, pinned=False)
                    self._serve(name, kind, created)
        version = self._models[name].choose(None)
        model = version.wait()
        version.count_use()
        return model

    def add_version(
        self, name: str, version: str, source: str, *, sha256: str | None = None
    ) -> None:
        """Add a version to a configured model. It gets requests once `set_route` names it.

        Raises:
            UnknownModel: the configuration has no such model.
        """
        model = self._model(name)
        with self._lock:
            config = model.config
            if config is None:
                raise UnknownModel(name, known=[n for n, m in self._models.items() if m.config])
            added = {**config.versions, version: VersionConfig(source, sha256)}
            model.config = config._replace(versions=added)
            self._add(model, self._configured(model.config, version))

    # Call a model ---------------------------------------------------------------------------

    def get_model(self, name: str, *, key: str | None = None, timeout: float | None = 0.0) -> Any:
        """Return the loaded model: an `Embedder` or `Reranker`, else the object itself.

        Load the model if needed. Return its fallback if the model is not ready within `timeout`
        and the fallback is. The returned object stays valid while you hold it, even if the registry
        reloads or unloads the model. `lease` prevents that.

        Args:
            name: name of the model.
            key: key of the request; equal keys get the same version.
            timeout: seconds to wait for the model; None for no limit.

        Raises:
            UnknownModel: no model has that name.
            NotReady: neither the model nor a fallback was ready in time.
            HotstartError: the load failed.
        """
        model = self._models.get(name)
        if model is None:
            raise UnknownModel(name, known=list(self._models))
        version = model.sole or model.choose(key)
        loaded = version.model
        if loaded is None:
            version = model.choose_ready(version, Deadline(timeout)).version
            loaded = version.wait(0.0)
        version.count_use()
        version.touch()
        return loaded

    @contextmanager
    def lease(
        self, name: str, *, key: str | None = None, timeout: float | None = None
    ) -> Iterator[Any]:
        """Yield what `get_model` returns, and keep it loaded for the block."""
        model = self._model(name)
        deadline = Deadline(timeout)
        version = model.choose_ready(model.choose(key), deadline).version
        with version.lease(deadline.left) as loaded:
            yield loaded
        self._pool.memory.check()

    def handle(self, name: str) -> Any:
        """Return the `Embedder` or `Reranker` of a model, loaded or not. Loads nothing.

        Raises:
            UnknownModel: no model has that name.
            InvalidInput: the model is of another kind.
        """
        model = self._model(name)
        handle = model.choose(None).served().handle
        if handle is None:
            expected = "an embedding model or a reranker"
            raise InvalidInput("model", got=f"{name}, of kind {model.kind}", expected=expected)
        return handle

    def predict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Return the answer of a model, counted and timed; a shadow repeats the call afterwards.

        Args:
            name: name of the model.
            inputs: inputs in the form of its kind, see docs/registry.md.
            key: key of the request; equal keys get the same version.
            timeout: seconds to wait for the model; its fallback then answers if it is ready.

        Raises:
            InvalidInput: the model does not take `inputs`.
            HotstartError: see `get_model`.
        """
        model = self._model(name)
        deadline = Deadline(timeout)
        choice = model.choose_ready(model.choose(key), deadline)
        output = choice.version.predict(inputs, deadline.left)
        return self._answer(model, choice, inputs, output)

    async def apredict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Await the answer of a model; see `predict`."""
        model = self._model(name)
        deadline = Deadline(timeout)
        choice = await model.achoose_ready(model.choose(key), deadline)
        output = await choice.version.apredict(inputs, deadline.left)
        return self._answer(model, choice, inputs, output)

    async def aembed(
        self,
        name: str,
        texts: Sequence[str],
        options: EncodeOptions | None = None,
        *,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Embed `texts`; the output of the prediction is an `EmbeddingResult`.

        Calls are counted and timed like `apredict`; shadows do not repeat them.

        Args:
            name: name of an embedding model.
            texts: one text, or a sequence of texts.
            options: keyword options of `Embedder.encode`.
            key: key of the request; equal keys get the same version.
            timeout: seconds for the load and the computation together.

        Raises:
            InvalidInput: the model is not an embedding model, or a text or option is invalid.
            HotstartError: see `get_model` and `Embedder.aembed`.
        """
        model = self._model(name)
        deadline = Deadline(timeout)
        choice = await model.achoose_ready(model.choose(key), deadline)
        result = await choice.version.aembed(texts, options or {}, deadline.left)
        return choice.prediction(result)

    async def arank(
        self,
        name: str,
        query: str,
        documents: Sequence[str],
        options: RankOptions | None = None,
        *,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Rank `documents` for `query`; the output of the prediction is as `Reranker.rank`.

        Calls are counted and timed like `apredict`; shadows do not repeat them.

        Args:
            name: name of a reranker.
            query: text that the documents are ranked for.
            documents: texts to rank.
            options: keyword options of `Reranker.rank`.
            key: key of the request; equal keys get the same version.
            timeout: seconds for the load and the computation together.

        Raises:
            InvalidInput: the model is not a reranker, or a text or option is invalid.
            HotstartError: see `get_model` and `Reranker.arank`.
        """
        model = self._model(name)
        deadline = Deadline(timeout)
        choice = await model.achoose_ready(model.choose(key), deadline)
        ranking = await choice.version.arank(query, documents, options or {}, deadline.left)
        return choice.prediction(ranking)

    async def await_ready(self, name: str, timeout: float | None = None) -> bool:
        """Load the model if needed; return whether it is ready within `timeout` seconds.

        Raises:
            HotstartError: its load failed, with the reason in the message.
        """
        from hotstart.pool.aio import is_ready_within

        return await is_ready_within(self._model(name).choose(None).instance, timeout)

    def wait_ready(self, name: str, timeout: float | None = None) -> bool:
        """Load the model if needed; return whether it is ready within `timeout` seconds."""
        return self._model(name).choose(None).instance.wait(timeout)

    # Load, unload, reload, route -----------------------------------------------------------

    async def aload_all(self, timeout: float | None = None) -> dict[str, RegisteredModelInfo]:
        """Load all models concurrently; return each status when the last load has ended.

        A model can be used as soon as its own load is done. A failure is not raised: it is the
        `last_error` of its model.
        """
        return await self.aload_selected(self._models, timeout)

    def load_all(self, timeout: float | None = None) -> dict[str, RegisteredModelInfo]:
        """Load all models and wait; see `aload_all`."""
        return self.load_selected(self._models, timeout)

    async def aload_selected(
        self, names: Iterable[str], timeout: float | None = None
    ) -> dict[str, RegisteredModelInfo]:
        """Load the models `names`, their fallbacks and shadows, as `aload_all` does."""
        import asyncio

        names = list(names)
        started = self._start(names)
        await asyncio.gather(*(_settle(version, timeout) for version in started))
        return self._infos_of(names)

    def load_selected(
        self, names: Iterable[str], timeout: float | None = None
    ) -> dict[str, RegisteredModelInfo]:
        """Load the models `names` and wait; see `aload_selected`."""
        names, deadline = list(names), Deadline(timeout)
        for version in self._start(names):
            try:
                version.wait(deadline.left)
            except HotstartError:
                continue
        return self._infos_of(names)

    def start_loading(self, name: str) -> None:
        """Start loading the model `name`; return at once."""
        self._start([name])

    def keep_alive(self, name: str, seconds: float | None) -> None:
        """Unload a model `seconds` after the end of its last use from now on.

        Args:
            name: name of the model; it applies to all routed versions.
            seconds: 0 for at once; None for never.
        """
        self._model(name).keep_alive(seconds)

    def unload(self, name: str) -> None:
        """Unload all versions of a model once the calls in flight have ended.

        A later call loads it again.
        """
        self._model(name).unload()

    def unload_all(self) -> None:
        """Unload every model."""
        for name in list(self._models):
            self.unload(name)

    def reload(self, name: str, version: str | None = None) -> None:
        """Load a model again, check it, and replace the serving one between two calls.

        Args:
            name: name of the model.
            version: label of the version; None for all routed versions.

        Raises:
            HotstartError: the load or its check failed; the old version keeps serving.
        """
        self._model(name).reload(version)

    def reload_all(self) -> dict[str, RegisteredModelInfo]:
        """Reload every loaded model. Failures are in `last_error`, not raised."""
        for name in self.loaded_models:
            try:
                self.reload(name)
            except HotstartError:
                continue
        return self.models()

    def set_route(
        self, name: str, weights: Mapping[str, float], *, timeout: float | None = None
    ) -> None:
        """Route requests to versions by these weights, once each version is loaded.

        Raises:
            UnknownVersion: a label is unknown.
            InvalidInput: a weight is negative, or all are 0.
            HotstartError: a version was not loaded in time; the route stays.
        """
        self._model(name).set_route(weights, timeout)

    def rollback(self, name: str, *, timeout: float | None = None) -> RegisteredModelInfo:
        """Restore the previous route and return the model's status.

        Raises:
            InvalidInput: there is no previous route.
            HotstartError: see `set_route`.
        """
        return self._model(name).rollback(timeout)

    def set_shadow(self, name: str, version: str | None) -> None:
        """Repeat the calls of a model on its version `version`; None stops that."""
        self._model(name).set_shadow(version)

    # Watch files and memory ----------------------------------------------------------------

    def watch(self) -> None:
        """Reload models when their files change, until the registry is closed.

        Raises:
            MissingExtra: watchfiles is not installed.
        """
        if self._watch is None:
            self._watch = Watch(self._reload_changed)
        self._watch.cover(self._files())

    def watch_memory(self) -> None:
        """Unload idle models, least recently used first, on memory pressure (PSI).

        Does nothing if the kernel has no PSI, as in many containers; then free memory is checked at
        each load and each use.
        """
        if self._shortage is None:
            memory = self._pool.memory
            self._shortage = watch_memory_pressure(lambda: memory.evict(1, "memory is short"))

    def close(self, timeout: float | None = 5.0) -> None:
        """Stop watching, unload every model, and deliver the last events.

        Args:
            timeout: seconds to wait for running loads and calls, None for no limit. A load that
                takes longer is left alone; the model of a longer call is freed after the call.
        """
        deadline = Deadline(timeout)
        if self._watch:
            self._watch.close()
        if self._shortage:
            self._shortage.stop()
        self._watch = self._shortage = None
        for model in list(self._models.values()):
            model.unload(deadline.left)
        self._changes.close()

    def reset_after_fork(self) -> None:
        """Replace the lock in a forked child: its holder does not exist there."""
        self._lock = threading.RLock()

    def __enter__(self) -> ModelRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Private -------------------------------------------------------------------------------

    def _errors(self, status: str) -> dict[str, str]:
        infos = self.models().items()
        return {name: str(info.last_error) for name, info in infos if info.status == status}

    def _model(self, name: str) -> RegisteredModel:
        model = self._models.get(name)
        if model is None:
            raise UnknownModel(name, known=list(self._models))
        return model

    def _configure(self, config: ModelConfig) -> None:
        """Register the versions of `config`. Loads nothing."""
        with self._lock:
            model = RegisteredModel(config.name, config.kind, self._models, config)
            model.fallback = None if config.kind == "embedding" else config.fallback
            for label in config.versions:
                model.add(self._configured(config, label))
            model.shadow = model.version(config.shadow) if config.shadow else None
            model.lead(config.weights)
            self._models[config.name] = model

    def _configured(self, config: ModelConfig, label: str) -> Version:
        key = (config.name, label, next(self._serial), id(self))
        bind = functools.partial(bind_version, config, label, self._pool, key)
        return Version(config.name, label, bind, self._changed, self._stepped)

    def _bind(
        self, name: str, kind: str, label: str, make: Callable[[], Any], *, pinned: bool
    ) -> Version:
        check_name(name)
        key = (name, label, next(self._serial), id(self))

        def bind() -> Served:
            return bind_factory(name, kind, make, self._pool, key, pinned=pinned)

        version = Version(name, label, bind, self._changed, self._stepped, pinned=pinned)
        version.served()  # an unknown kind is refused here
        return version

    def _serve(self, name: str, kind: str, version: Version) -> None:
        with self._lock:
            model = self._models.get(name) or RegisteredModel(name, kind, self._models)
            self._add(model, version)
            model.lead({version.label: 1.0})
            self._models[name] = model
            self._changed(version)

    def _add(self, model: RegisteredModel, version: Version) -> None:
        """Add `version` to `model`; drop a version that it replaces once its calls end."""
        replaced = model.add(version)
        if replaced is not None:
            key = replaced.served().binding.key
            threading.Thread(target=self._pool.drop, args=(key,), daemon=True).start()

    def _changed(self, version: Version) -> None:
        """Publish a change of a version. Called under the lock of its instance."""
        model = self._models.get(version.name)
        if model is not None:
            model.compose()
            account = version.account
            change = StateChange(
                name=version.name,
                version=version.label,
                status=account.status,
                reason=account.reason,
                info=model.info,
                at=time.time(),
            )
            self._changes.note(change)

    def _stepped(self, version: Version, stage: str, fraction: float) -> None:
        self._changes.note(LoadStep(version.name, version.label, stage, fraction, time.time()))

    def _start(self, names: Iterable[str]) -> list[Version]:
        """Start loading the versions that requests for `names` may need; return them.

        The first load starts watching files and memory.
        """
        self.watch_memory()
        if self._config.watch:
            self._watch_if_installed()
        models = [self._model(name) for name in names]
        spares = [self._model(model.fallback) for model in models if model.fallback]
        wanted = dict.fromkeys(v for model in [*models, *spares] for v in model.wanted)
        for version in wanted:
            version.start()
        return list(wanted)

    def _infos_of(self, names: Iterable[str]) -> dict[str, RegisteredModelInfo]:
        return {name: self._models[name].info for name in names}

    def _answer(
        self, model: RegisteredModel, choice: ChosenVersion, inputs: Any, output: Any
    ) -> Prediction:
        """Return the prediction, after passing the call to the shadow."""
        shadow = model.shadow_of(choice)
        if shadow is not None:
            self._shadows.send(shadow, inputs, output)
        self._pool.memory.check()
        return choice.prediction(output)

    def _watch_if_installed(self) -> None:
        """Watch files if watchfiles is installed; a missing extra is logged once."""
        try:
            self.watch()
        except MissingExtra as error:
            self._config = self._config._replace(watch=False)  # log this once
            logger.warning("Files are not watched: %s", error)

    def _files(self) -> dict[str, list[Version]]:
        """Return the versions loaded from each file, by path."""
        files: dict[str, list[Version]] = {}
        for model in list(self._models.values()):
            for path, version in model.files():
                files.setdefault(path, []).append(version)
        return files

    def _reload_changed(self, paths: set[str]) -> None:
        """Reload the versions loaded from `paths`, each in its own thread."""
        watched, files = self._watch, self._files()
        if watched is not None:
            watched.cover(files)  # a link may lead elsewhere now, a folder may be new
        for path, versions in files.items():
            steps = steps_to(path)
            if any(p == step or p.startswith(step + os.sep) for p in paths for step in steps):
                for version in versions:
                    if version.account.state == "unloaded":
                        continue  # its next load reads the new file
                    threading.Thread(
                        target=_reload, args=(version,), name="hotstart-reload", daemon=True
                    ).start()


async def _settle(version: Version, timeout: float | None) -> None:
    from hotstart.pool.aio import until_ready

    try:
        await until_ready(version.instance, timeout)
    except HotstartError:
        return  # `last_error` has it


def _reload(version: Version) -> None:
    try:
        version.reload()
        logger.info("Reloaded %s %s: its file changed", version.name, version.label)
    except HotstartError as error:
        logger.warning(
            "Reload of %s %s failed, the old version still serves: %s",
            version.name,
            version.label,
            error,
        )


def _pool_for(config: RegistryConfig) -> Pool:
    if config.memory is None and config.most_loads == MOST_LOADS:
        return default_pool()
    return Pool(budget=config.memory, most_loads=config.most_loads)
