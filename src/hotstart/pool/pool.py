"""The instances of a process, one for each model it uses."""

from __future__ import annotations

import atexit
import functools
import threading

from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Instance
from hotstart.pool.loading import LoadedModel, load_model

_PATIENCE_AT_EXIT = 10.0


class Pool:
    """Hands out instances. Equal specs share one, and with it one load and one set of weights."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[ModelSpec, Instance[LoadedModel]] = {}

    def instance(self, spec: ModelSpec) -> Instance[LoadedModel]:
        """Return the instance of `spec`, made now if need be; this loads nothing."""
        with self._lock:
            if spec not in self._instances:
                load = functools.partial(load_model, spec)
                self._instances[spec] = Instance(spec.source, load, LoadedModel.close)
            return self._instances[spec]

    def loading(self) -> list[str]:
        """Return the names of the models that are being loaded at this moment."""
        with self._lock:
            return [i.name for i in self._instances.values() if i.state == "loading"]

    def settle(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, in all, for the loads under way."""
        with self._lock:
            instances = list(self._instances.values())
        for instance in instances:
            timeout = instance.settle(timeout)


@functools.cache
def default_pool() -> Pool:
    """Return the pool of this process.

    At exit it waits a while for loads under way: an interpreter that is torn down under a thread
    within native code crashes.
    """
    pool = Pool()
    atexit.register(pool.settle, _PATIENCE_AT_EXIT)
    return pool
