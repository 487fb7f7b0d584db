"""Many models by name, each with the readiness that embeddings have. Read this file first.

One class, and so one file: every method is short and acts on the registered models.

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
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hotstart.concurrency import Deadline
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
    with_fallbacks,
)
from hotstart.registry.events import ChangeEvents, LoadStep, StateChange
from hotstart.registry.model import ChosenVersion, Prediction, RegisteredModel, RegisteredModelInfo
from hotstart.registry.shadow import ShadowTraffic
from hotstart.registry.version import Version
from hotstart.registry.watch import Watch
from hotstart.telemetry import Metric

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions
    from hotstart.scoring import RankOptions

logger = logging.getLogger(__name__)


class ModelRegistry:
    """Models by name: loaded side by side, versioned, routed, reloaded, kept within memory.

    Making one loads nothing; any thread may call its methods. Its models live in a pool: that of
    the process, which embedders of the same models share, or one of its own where `memory` or
    `most_loads` is configured.

    Args:
        config: what it holds from the beginning.
        pool: where its models live.
    """

    def __init__(self, config: RegistryConfig | None = None, *, pool: Pool | None = None) -> None:
        self._config = config or RegistryConfig()
        self._pool = pool or _pool_for(self._config)
        self._models: dict[str, RegisteredModel] = {}
        self._lock = threading.RLock()  # held by writers of _models; readers need no lock
        self._changes = ChangeEvents()
        self._serial = itertools.count()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=functools.partial(_forget, weakref.ref(self)))
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
        """Return the registry that a file, or its content as tables, describes: docs/registry.md.

        Relative paths are taken from the file's folder.

        Raises:
            InvalidInput: it is not there, no TOML, or says what cannot be, naming the key.
        """
        if isinstance(config, Mapping):
            return cls(read_config(config))
        path = os.path.abspath(config)
        return cls(read_config(read_file(path), os.path.dirname(path)))

    # What is known -------------------------------------------------------------------------

    def models(self) -> dict[str, RegisteredModelInfo]:
        """Return what is known of each model at this moment, by name."""
        return {name: model.info for name, model in list(self._models.items())}

    def info(self, name: str) -> RegisteredModelInfo:
        """Return what is known of the model `name` at this moment. UnknownModel where there is
        none."""
        return self._model(name).info

    def is_loaded(self, name: str) -> bool:
        """Return whether the model answers at once. UnknownModel where there is none."""
        return self._model(name).info.status == "ready"

    @property
    def loaded_models(self) -> list[str]:
        """The names of the models that answer at once."""
        return [name for name, info in self.models().items() if info.status == "ready"]

    @property
    def failed_models(self) -> dict[str, str]:
        """Why a model could not be loaded, and what to do about it, by name."""
        return self._told("failed")

    @property
    def skipped_models(self) -> dict[str, str]:
        """Which model was skipped for want of an optional dependency, and how to install it."""
        return self._told("skipped")

    def on_change(self, callback: Callable[[StateChange], object]) -> None:
        """Call `callback` with each change of a model's state, in order.

        A thread of its own calls it, so that it may ask the registry whatever it likes.
        """
        self._changes.listen(StateChange, callback)

    def on_progress(self, callback: Callable[[LoadStep], object]) -> None:
        """Call `callback` with each step of each load, in order with state changes."""
        self._changes.listen(LoadStep, callback)

    def metrics(self) -> Iterator[Metric]:
        """Yield what is counted of each version, and what the models count themselves."""
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
        """Hold `model`, an object made by the program, as `version` of `name`, and let it serve.

        It is never unloaded to make room. A version of that name is replaced; any others stay, for
        `rollback` and `set_route`.

        Raises:
            InvalidInput: the name, or the type, cannot be one.
        """
        made = self._made(name, kind, version, lambda: model, pinned=True)
        made.wait()
        self._serve(name, kind, made)

    def get_or_create(self, name: str, factory: Callable[[], Any], kind: str = "custom") -> Any:
        """Return the model `name`; where there is none, what `factory` makes, kept from now on.

        However many ask at once, the factory is called once; after a failure, again by the next who
        asks when the back-off is over.

        Raises:
            HotstartError: the factory failed, its error chained.
        """
        if name not in self._models:
            with self._lock:
                if name not in self._models:
                    made = self._made(name, kind, "1.0.0", factory, pinned=False)
                    self._serve(name, kind, made)
        version = self._models[name].choose(None)
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
        model = self._model(name)
        with self._lock:
            config = model.config
            if config is None:
                raise UnknownModel(name, known=[n for n, m in self._models.items() if m.config])
            added = {**config.versions, version: VersionConfig(source, sha256)}
            model.config = config._replace(versions=added)
            self._add(model, self._configured(model.config, version))

    # Ask a model ---------------------------------------------------------------------------

    def get_model(self, name: str, *, key: str | None = None, timeout: float | None = 0.0) -> Any:
        """Return the loaded model: an `Embedder` or `Reranker`, else the object itself.

        A model that is not loaded is loaded from now on. Where it is not ready within `timeout`
        its fallback is given, if it has one that is. What is returned stays good as long as the
        caller keeps it, though the registry load another or unload it meanwhile; `lease` counts the
        caller in.

        Args:
            name: of the model.
            key: of the request, by which the same version is always chosen.
            timeout: seconds to wait for it; None waits as long as it takes.

        Raises:
            UnknownModel: there is none of that name.
            NotReady: neither it nor a fallback was ready in time.
            HotstartError: its load failed, for the reason it states.
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
        """Yield what `get_model` returns; within, it is neither unloaded nor closed by a reload."""
        model, deadline = self._model(name), Deadline(timeout)
        version = model.choose_ready(model.choose(key), deadline).version
        with version.lease(deadline.left) as loaded:
            yield loaded
        self._pool.room.look()

    def handle(self, name: str) -> Any:
        """Return the `Embedder` or `Reranker` of a model, loaded or not; this loads nothing.

        Raises:
            UnknownModel: there is none of that name.
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
        """Ask a model and return its answer, counted and timed; shadows repeat the call after it.

        Args:
            name: of the model.
            inputs: as its kind takes them: docs/registry.md.
            key: of the request, by which the same version always answers.
            timeout: seconds to wait for the model; its fallback then answers if it is ready.

        Raises:
            InvalidInput: it cannot be asked that.
            HotstartError: as `get_model`.
        """
        model, deadline = self._model(name), Deadline(timeout)
        choice = model.choose_ready(model.choose(key), deadline)
        output = choice.version.predict(inputs, deadline.left)
        return self._answer(model, choice, inputs, output)

    async def apredict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Do what `predict` does without holding up the event loop."""
        model, deadline = self._model(name), Deadline(timeout)
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

        Calls are counted and timed as those of `apredict`; shadows do not repeat them.

        Args:
            name: of an embedding model.
            texts: one text, or a sequence of texts.
            options: keyword options of `Embedder.encode`.
            key: of the request, by which the same version always answers.
            timeout: seconds for the load and the computation together.

        Raises:
            InvalidInput: the model is no embedding model, or a text or an option is refused.
            HotstartError: as `get_model`, and as `Embedder.aembed`.
        """
        model, deadline = self._model(name), Deadline(timeout)
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

        Calls are counted and timed as those of `apredict`; shadows do not repeat them.

        Args:
            name: of a reranker.
            query: what the documents are ranked for.
            documents: texts.
            options: keyword options of `Reranker.rank`.
            key: of the request, by which the same version always answers.
            timeout: seconds for the load and the computation together.

        Raises:
            InvalidInput: the model is no reranker, or a text or an option is refused.
            HotstartError: as `get_model`, and as `Reranker.arank`.
        """
        model, deadline = self._model(name), Deadline(timeout)
        choice = await model.achoose_ready(model.choose(key), deadline)
        ranking = await choice.version.arank(query, documents, options or {}, deadline.left)
        return choice.prediction(ranking)

    async def await_ready(self, name: str, timeout: float | None = None) -> bool:
        """Return whether the model is ready within `timeout` seconds, having it loaded if need be.

        Raises:
            HotstartError: its load failed, for the reason it states.
        """
        from hotstart.pool.aio import is_ready_within

        return await is_ready_within(self._model(name).choose(None).instance, timeout)

    def wait_ready(self, name: str, timeout: float | None = None) -> bool:
        """Return whether the model is ready within `timeout` seconds, loading it if need be."""
        return self._model(name).choose(None).instance.wait(timeout)

    # Load, unload, reload, route -----------------------------------------------------------

    async def aload_all(self, timeout: float | None = None) -> dict[str, RegisteredModelInfo]:
        """Load every model side by side; return what became of each when the last has ended.

        Each can be used as soon as its own load is done. What fails is told, not raised: in the
        answer, with reason and remedy.
        """
        return await self.aload_selected(self._models, timeout)

    def load_all(self, timeout: float | None = None) -> dict[str, RegisteredModelInfo]:
        """Do what `load_all` does where there is no event loop."""
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
        """Begin to load the model `name`; return at once."""
        self._start([name])

    def keep_alive(self, name: str, seconds: float | None) -> None:
        """Unload a model `seconds` after the end of its last use from now on.

        Args:
            name: of the model, whose every version that requests are led to is meant.
            seconds: 0 for at once; None for never for want of use.
        """
        self._model(name).keep_alive(seconds)

    def unload(self, name: str) -> None:
        """Give a model's memory back, of all its versions, once the calls in flight have ended.

        A later call has it loaded again.
        """
        self._model(name).unload()

    def unload_all(self) -> None:
        """Give the memory of all models back."""
        for name in list(self._models):
            self.unload(name)

    def reload(self, name: str, version: str | None = None) -> None:
        """Load a model anew beside the one that serves, check it, and swap it in between two calls.

        Args:
            name: of the model.
            version: of it; None for all that requests are led to.

        Raises:
            HotstartError: the new one could not be loaded, or failed its check. The old one serves.
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
        """Lead requests to versions by these weights, once each of them is loaded.

        Raises:
            UnknownVersion: one that there is not.
            InvalidInput: a weight below 0, or none above it.
            HotstartError: one of them could not be loaded in time; requests go where they went.
        """
        self._model(name).set_route(weights, timeout)

    def rollback(self, name: str, *, timeout: float | None = None) -> RegisteredModelInfo:
        """Lead requests as they were before the last change of the route, and say how that is.

        Raises:
            InvalidInput: there was no other before.
            HotstartError: as `set_route`.
        """
        return self._model(name).rollback(timeout)

    def set_shadow(self, name: str, version: str | None) -> None:
        """Have the calls of a model repeated on `version` of it; on none with None."""
        self._model(name).set_shadow(version)

    # Watch files and memory ----------------------------------------------------------------

    def watch(self) -> None:
        """Load models anew when their files change, and stop when the registry is closed.

        Raises:
            MissingExtra: watchfiles is not installed.
        """
        if self._watch is None:
            self._watch = Watch(self._reload_changed)
        self._watch.cover(self._files())

    def watch_memory(self) -> None:
        """Unload idle models, the longest unused first, whenever the kernel says memory is short.

        Does nothing where it does not say so, as in many containers: what is left is looked at
        instead, at each load and each use.
        """
        if self._shortage is None:
            room = self._pool.room
            self._shortage = watch_memory_pressure(lambda: room.relieve(1, "memory is short"))

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

    # Private -------------------------------------------------------------------------------

    def _told(self, status: str) -> dict[str, str]:
        infos = self.models().items()
        return {name: str(info.last_error) for name, info in infos if info.status == status}

    def _model(self, name: str) -> RegisteredModel:
        model = self._models.get(name)
        if model is None:
            raise UnknownModel(name, known=list(self._models))
        return model

    def _configure(self, config: ModelConfig) -> None:
        """Hold the versions of `config`; nothing is loaded."""
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

    def _made(
        self, name: str, kind: str, label: str, make: Callable[[], Any], *, pinned: bool
    ) -> Version:
        check_name(name)
        key = (name, label, next(self._serial), id(self))

        def bind() -> Served:
            return bind_factory(name, kind, make, self._pool, key, pinned=pinned)

        version = Version(name, label, bind, self._changed, self._stepped, held=pinned)
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
        """Have `model` hold `version`; what it takes the place of ends when its calls do."""
        replaced = model.add(version)
        if replaced is not None:
            key = replaced.served().binding.key
            threading.Thread(target=self._pool.drop, args=(key,), daemon=True).start()

    def _changed(self, version: Version) -> None:
        """Tell anew what is known of a version's model. Called under its instance's lock."""
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
        """Begin to load what requests for `names` may need; return it.

        What watches files and memory begins with the first load.
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
        """Return the prediction, its call sent to the shadow, if there is one."""
        shadow = model.shadow_of(choice)
        if shadow is not None:
            self._shadows.send(shadow, inputs, output)
        self._pool.room.look()
        return choice.prediction(output)

    def _watch_if_installed(self) -> None:
        """Watch files if watchfiles is installed; a missing extra is logged once."""
        try:
            self.watch()
        except MissingExtra as error:
            self._config = self._config._replace(watch=False)  # said once
            logger.warning("Files are not watched: %s", error)

    def _files(self) -> dict[str, list[Version]]:
        """The files that versions are loaded from, and whose they are."""
        files: dict[str, list[Version]] = {}
        for model in list(self._models.values()):
            for path, version in model.files():
                files.setdefault(path, []).append(version)
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


def _forget(reference: weakref.ref[ModelRegistry]) -> None:
    """In a forked child nobody else holds the lock."""
    registry = reference()
    if registry is not None:
        registry._lock = threading.RLock()


async def _settle(version: Version, timeout: float | None) -> None:
    from hotstart.pool.aio import until_ready

    try:
        await until_ready(version.instance, timeout)
    except HotstartError:
        return  # `last_error` holds it


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
