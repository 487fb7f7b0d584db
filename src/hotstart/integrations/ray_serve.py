"""The registry as a Ray Serve application with model multiplexing.

handle, HTTP ──▶ Ray: a replica that has the model ──▶ lease: no unload ──▶ registry
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart._lazy import brought_by
from hotstart.config import CONFIG_FILE
from hotstart.errors import HotstartError, described
from hotstart.pool.aio import in_background
from hotstart.registry.model import Prediction
from hotstart.registry.registry import ModelRegistry

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from hotstart.encoding import EncodeOptions


class ModelSlot:
    """One of Ray's multiplexing slots, and the model in it. Ray calls `__del__` when another takes
    the slot.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def __del__(self) -> None:
        end, self._end = self._end, None  # the interpreter calls it again
        if end:
            end()


class ModelSlots:
    """Counts the slots and calls that use each model; unloads unused models."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Keep the model until `end`."""
        with self._lock:
            self._count[name] += 1

    def end(self, name: str) -> None:
        """End the use of the model; it is unloaded if nothing else uses it."""
        with self._lock:
            self._count -= Counter({name: 1})
            last = name not in self._count
        if last:  # in the background, because an unload waits for a running load
            in_background(True, self._unload, name)

    def held(self) -> list[str]:
        """Return the models in use."""
        with self._lock:
            return sorted(self._count)

    def _unload(self, name: str) -> None:
        if name not in self.held():  # a new use may have begun
            self._registry.unload(name)


with brought_by("ray", "ray"):
    from ray import serve

AUTOSCALING: Mapping[str, Any] = MappingProxyType({"target_ongoing_requests": 8})
"""Defaults of Ray's `AutoscalingConfig`, without the number of replicas."""

DEPLOYMENT: Mapping[str, Any] = MappingProxyType(
    {
        "name": "hotstart",
        "max_ongoing_requests": 32,  # the number of threads of a process that wait
        "health_check_period_s": 10,
        "health_check_timeout_s": 30,
    }
)
"""Defaults of the deployment; options of `application` take precedence."""

_CANNOT_ANSWER = {"failed", "skipped"}


class ModelRaised(HotstartError):
    """The model `name` raised `error`, which cannot be pickled for the caller."""

    def __init__(self, name: str, *, error: BaseException) -> None:
        super().__init__(
            f"Model {name!r} raised {described(error)}",
            "Look for its traceback in the replica's log",
        )


class ReplicaStatus(NamedTuple):
    """A replica at one moment.

    Attributes:
        pid: process id.
        models: status of each model by name.
        reasons: reason of the status by name.
        leased: models that slots of Ray and calls in flight use.
    """

    pid: int
    models: Mapping[str, str]
    reasons: Mapping[str, str]
    leased: Sequence[str]


def application(
    config: str | os.PathLike[str] | Mapping[str, Any] = CONFIG_FILE,
    *,
    min_replicas: int = 1,
    max_replicas: int = 4,
    models_per_replica: int = 3,
    ready_within: float = 0.0,
    autoscaling: Mapping[str, Any] = AUTOSCALING,
    **options: Any,
) -> Any:
    """Return the registry that `config` describes as an application for `serve.run`.

    Each replica has its own registry and starts loading the first `models_per_replica` models. Ray
    sends the requests of a model to a replica that has it.

    Args:
        config: tables or file, see `ModelRegistry.from_config`. Tables are sent to the replicas; a
            file is read by each of them, at the same path on every node.
        min_replicas: minimal number of replicas.
        max_replicas: maximal number of replicas.
        models_per_replica: maximal number of models of a replica; the least recently used one is
            evicted.
        ready_within: seconds that Ray waits for the first models of a new replica before it sends
            requests; 0 for no wait.
        autoscaling: further keys of Ray's `AutoscalingConfig`.
        options: further options of `serve.deployment`, for example `ray_actor_options`; they
            override `DEPLOYMENT`.

    Raises:
        MissingExtra: Ray is not installed.
    """
    # Plain types can be pickled; a replica runs in another folder and needs an absolute path.
    sent = dict(config) if isinstance(config, Mapping) else os.path.abspath(config)
    replicas = {"min_replicas": min_replicas, "max_replicas": max_replicas}
    settings = {**DEPLOYMENT, "autoscaling_config": {**autoscaling, **replicas}, **options}
    deployment = serve.deployment(_with_slots(models_per_replica), **settings)
    return deployment.bind(sent, models_per_replica, ready_within)


class RegistryReplica:
    """A registry in a Ray Serve replica."""

    get_model: Callable[[str], Awaitable[ModelSlot]]

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, config: str | Mapping[str, Any], first: int, ready_within: float
    ) -> None:
        self._registry = ModelRegistry.from_config(config)
        self._leases = ModelSlots(self._registry)
        names = list(self._registry.models())[:first]
        for name in names:
            await self.get_model(name)
        if ready_within:
            await self._registry.aload_selected(names, ready_within)
        _of_this_process[:] = [self]

    async def predict(
        self, name: str, inputs: Any, *, key: str | None = None, timeout: float | None = None
    ) -> Prediction:
        """Return the prediction of the registry. Errors: see its `predict`, or ModelRaised."""
        async with self.holding(name):
            return await self._registry.apredict(name, inputs, key=key, timeout=timeout)

    async def embed(
        self,
        texts: str | Sequence[str],
        model: str,
        *,
        key: str | None = None,
        timeout: float | None = None,
        **options: Unpack[EncodeOptions],
    ) -> Any:
        """Return the vectors of `texts` from the embedding `model`. Options: see `encode`."""
        async with self.holding(model):
            prediction = await self._registry.aembed(
                model, texts, options, key=key, timeout=timeout
            )
            return prediction.output.vectors

    async def status(self) -> ReplicaStatus:
        """Return the status of one replica, which Ray chooses."""
        infos = self._registry.models()
        return ReplicaStatus(
            os.getpid(),
            {name: info.status for name, info in infos.items()},
            {name: info.reason for name, info in infos.items()},
            self._leases.held(),
        )

    def check_health(self) -> None:
        """Raise if no model is ready or loading: Ray then replaces the replica.

        A loading or unused model may still answer, and a replica with some working models is better
        than a replacement, which must load all of them again.
        """
        infos = list(self._registry.models().values())
        if infos and all(info.status in _CANNOT_ANSWER for info in infos):
            raise next(info.last_error.again() for info in infos if info.last_error)

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[None]:
        """Pin the model for the block, even if Ray evicts it from its slot.

        Raises:
            UnknownModel: no model has that name.
            ModelRaised: an error in the block cannot be pickled.
        """
        await self.get_model(name)
        self._leases.add(name)  # without an await in between there is no eviction
        try:
            yield
        except Exception as error:
            if _can_be_sent(error):
                raise
            raise ModelRaised(name, error=error) from error
        finally:
            self._leases.end(name)

    def lease(self, name: str) -> ModelSlot:
        """Start loading the model and return its slot. Raises UnknownModel.

        Do not wait here: Ray fills one slot at a time.
        """
        self._registry.start_loading(name)
        self._leases.add(name)
        return ModelSlot(partial(self._leases.end, name))

    def known(self, name: str) -> bool:
        """Return whether there is a model of that name."""
        return name in self._registry.models()

    def http(self) -> Any:
        """Return the registry's routes as an ASGI application."""
        from hotstart.server import mounted  # only HTTP needs it

        return mounted(self._registry)

    def __del__(self) -> None:
        if hasattr(self, "_registry"):
            self._registry.close()


_of_this_process: list[RegistryReplica] = []
"""The replica of this process: Ray builds the HTTP side without naming its replica."""


def _with_slots(number: int) -> type:
    """Return the replica class with `number` model slots."""

    class Registry(RegistryReplica):
        @serve.multiplexed(max_num_models_per_replica=number)
        async def _slot(self, model_id: str) -> ModelSlot:
            return self.lease(model_id)

        async def get_model(self, model_id: str) -> ModelSlot:
            self._registry.is_loaded(model_id)  # Ray empties a slot before it requests the model
            lease: ModelSlot = await self._slot(model_id)
            return lease

    replica: type = serve.ingress(_http_side)(Registry)
    return replica


def _http_side() -> Callable[..., Awaitable[None]]:
    """Return the ASGI application of this process's replica."""
    replica = _of_this_process[-1]
    app = replica.http()

    async def answer(
        scope: MutableMapping[str, Any], receive: Callable[..., Any], send: Callable[..., Any]
    ) -> None:
        named = serve.get_multiplexed_model_id() if scope["type"] == "http" else ""
        if named and replica.known(named):
            async with replica.holding(named):
                await app(scope, receive, send)
        else:
            await app(scope, receive, send)

    return answer


def _can_be_sent(error: Exception) -> bool:
    """Return whether `error` survives pickling, as every error of hotstart does."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # it was made here
    except Exception:  # noqa: BLE001  # whatever its class does
        return False
    return True
