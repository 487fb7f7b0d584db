"""The instances of a process, one for each model it uses."""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from typing import NamedTuple

from hotstart.engines import entry_of
from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Instance
from hotstart.pool.loading import LoadedModel, load_model
from hotstart.pool.strategies import strategy_named
from hotstart.types import Stage

_PATIENCE = 3.0  # seconds that an exit or a fork waits for loads under way


class Limits(NamedTuple):
    """How long a load may take and how long an unused model is kept, in seconds; None: no limit."""

    load_timeout: float | None = None
    keep_alive: float | None = None


NO_LIMITS = Limits()


class Pool:
    """Hands out instances. Equal specs share one, and with it one load and one set of weights."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[ModelSpec, Instance[LoadedModel]] = {}
        if hasattr(os, "register_at_fork"):
            mine = weakref.ref(self)  # what is registered stays registered
            before, after = functools.partial(_settle, mine), functools.partial(_forget, mine)
            os.register_at_fork(before=before, after_in_child=after)

    def instance(self, spec: ModelSpec, limits: Limits = NO_LIMITS) -> Instance[LoadedModel]:
        """Return the instance of `spec`, made now if need be; this loads nothing.

        Strategy and limits are those of the first who asks for it.
        """
        with self._lock:
            if spec not in self._instances:
                self._instances[spec] = Instance(
                    spec.source,
                    functools.partial(load_model, spec),
                    LoadedModel.close,
                    _stages(spec),
                    *limits,
                    strategy_named(spec.strategy).patience,
                )
            return self._instances[spec]

    def loading(self) -> list[str]:
        """Return the names of the models that are being loaded, or promoted, at this moment."""
        with self._lock:
            return [i.name for i in self._instances.values() if i.busy]

    def settle(self, timeout: float) -> None:
        """Wait up to `timeout` seconds, in all, for the loads under way."""
        with self._lock:
            instances = list(self._instances.values())
        for instance in instances:
            timeout = instance.settle(timeout)

    def forget(self) -> None:
        """Begin anew in a forked child: every model is unloaded, and no lock of the parent held."""
        self._lock = threading.Lock()
        for instance in self._instances.values():
            instance.forget()


@functools.cache
def default_pool() -> Pool:
    """Return the pool of this process.

    At exit it waits a while for loads under way: an interpreter that is torn down under a thread
    within native code crashes.
    """
    pool = Pool()
    atexit.register(pool.settle, _PATIENCE)
    return pool


def _stages(spec: ModelSpec) -> tuple[Stage, ...]:
    """Those of the strategy; an engine that opens no artifact has one stage only."""
    stages = strategy_named(spec.strategy).stages
    return stages if entry_of(spec.engine).opened_from == "artifact" else stages[:1]


def _settle(reference: weakref.ref[Pool]) -> None:
    """A fork waits for loads under way: a child cannot mend modules that are half imported."""
    pool = reference()
    if pool is not None:
        pool.settle(_PATIENCE)


def _forget(reference: weakref.ref[Pool]) -> None:
    pool = reference()
    if pool is not None:
        pool.forget()
