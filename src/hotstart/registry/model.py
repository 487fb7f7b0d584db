"""One registered model: versions, routing, fallback, rollback.

key ──▶ `choose`: the route's version ──▶ `choose_ready`: that version, or the fallback's
"""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import random
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from hotstart.concurrency import Deadline, ForkLock
from hotstart.errors import HotstartError, InvalidInput, NotReady, UnknownVersion
from hotstart.registry.config import ModelConfig
from hotstart.registry.version import ModelStatus, Version


def draw(cumulative: Sequence[float], share: float) -> int:
    """Return the index of the weight that `share`, 0 to 1, of the sum falls into.

    `cumulative` has the sum of the weights up to each index.
    """
    return bisect(cumulative, share * cumulative[-1], 0, len(cumulative) - 1)


def choose(weights: Mapping[str, float], model: str, key: str) -> str:
    """Return the version that answers `key`; each version gets its share of the keys.

    Weighted rendezvous hashing (Schindelhauer and Schomaker 2005, "Weighted Distributed Hash
    Tables"): the version with the least -ln(h) / weight, h uniform in (0, 1) by version and key.
    A key stays with its version unless that version loses weight or another gains it.

    Args:
        weights: weight of each version, at least one positive; their sum is arbitrary.
        model: part of the hash, so that keys are distributed differently for each model.
        key: key of the request, for example a user name.
    """
    positive = {version: weight for version, weight in weights.items() if weight > 0}
    return min(positive, key=lambda v: (-math.log(_uniform(model, v, key)) / positive[v], v))


def _uniform(*parts: str) -> float:
    """Return a number in (0, 1) from the hash of `parts`."""
    digest = hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8)
    return (int.from_bytes(digest.digest(), "big") + 0.5) / 2**64


class RegisteredModelInfo(NamedTuple):
    """A registered model at one moment.

    Attributes:
        name: name in the registry.
        kind: kind of the model.
        status: status of the serving version; `skipped` if an optional dependency is missing.
        reason: reason of the status, for people.
        loaded_at: time of the serving load in UTC; None before the first.
        load_duration: seconds of that load.
        version: the version that serves most requests.
        versions: all versions.
        route: share of requests of each version.
        last_error: error of the last load or reload of the serving version, else of another routed
            version; None after successful loads.
        fallback: model that answers while this one is not ready.
        shadow: version that repeats calls.
        can_roll_back: whether there is a previous route.
        serving: versions that count uses and memory.
        names: other names of the model, as configured.
    """

    name: str
    kind: str
    status: ModelStatus
    reason: str
    loaded_at: datetime | None
    load_duration: float | None
    version: str
    versions: tuple[str, ...]
    route: Mapping[str, float]
    last_error: HotstartError | None
    fallback: str | None
    shadow: str | None
    can_roll_back: bool
    serving: tuple[Version, ...]
    names: tuple[str, ...] = ()

    @property
    def leading(self) -> Version:
        """The version that serves most requests."""
        return next(version for version in self.serving if version.label == self.version)

    @property
    def uses(self) -> int:
        """The number of uses, over all versions."""
        return sum(version.uses for version in self.serving)

    @property
    def memory(self) -> int:
        """Approximate bytes of the loaded versions."""
        return sum(version.memory for version in self.serving)


class Prediction(NamedTuple):
    """An answer, and the model that gave it.

    Attributes:
        output: the answer, in the form of the model's kind.
        model: name of the model that answered: the requested one, or its fallback.
        version: label of the version that answered.
        reason: why the fallback answered; None for an answer of the requested model.
    """

    output: Any
    model: str
    version: str
    reason: str | None


class ChosenVersion(NamedTuple):
    """The version that answers a call, and why it belongs to the fallback."""

    version: Version
    reason: str | None

    def prediction(self, output: Any) -> Prediction:
        """Return `output` with the version that made it."""
        return Prediction(
            output=output,
            model=self.version.name,
            version=self.version.label,
            reason=self.reason,
        )


class RegisteredModel:
    """The versions that a registry holds under one name. Thread-safe.

    Attributes:
        sole: the version that answers every request; None if the route has several.
        info: the status of the model as a whole.
        shadow: the version on which calls are repeated, if any.
        fallback: name of the model that answers where this one is not ready.
        config: the model's configuration; None for a model that the program made.

    Args:
        name: in the registry.
        kind: of the model.
        models: every model of the registry by name; the fallback is looked up here.
        config: see Attributes.
    """

    info: RegisteredModelInfo

    def __init__(
        self,
        name: str,
        kind: str,
        models: Mapping[str, RegisteredModel],
        config: ModelConfig | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.config = config
        self._models = models
        self.sole: Version | None = None
        self.shadow: Version | None = None
        self.fallback: str | None = None
        self._versions: dict[str, Version] = {}
        self._route: Mapping[str, float] = {}
        self._drawn: tuple[list[Version], list[float]] = ([], [])
        self._before: list[Mapping[str, float]] = []
        self._lock = ForkLock()

    # Versions ------------------------------------------------------------------------------

    def version(self, label: str) -> Version:
        """Return the version `label`; raise UnknownVersion if there is none."""
        try:
            return self._versions[label]
        except KeyError:
            raise UnknownVersion(self.name, label, known=list(self._versions)) from None

    @property
    def versions(self) -> list[Version]:
        """All versions."""
        return list(self._versions.values())

    @property
    def wanted(self) -> list[Version]:
        """The routed versions and the shadow."""
        route = self._route
        routed = [self._versions[label] for label, weight in route.items() if weight > 0]
        return routed + ([self.shadow] if self.shadow and self.shadow not in routed else [])

    @property
    def spare(self) -> RegisteredModel | None:
        """The fallback; None if none is configured."""
        return self._models.get(self.fallback) if self.fallback else None

    def files(self) -> Iterator[tuple[str, Version]]:
        """Yield the absolute path that each configured version is loaded from."""
        for label, source in (self.config.versions if self.config else {}).items():
            if os.path.isabs(source.source):
                yield source.source, self.version(label)

    def add(self, version: Version) -> Version | None:
        """Add `version` without routing requests to it; return the version it replaces, if any."""
        with self._lock:
            replaced = self._versions.get(version.label)
            self._versions = self._versions | {version.label: version}
        if self._route:
            self._apply(self._route)
        return replaced

    # Which version answers -----------------------------------------------------------------

    def choose(self, key: str | None) -> Version:
        """Return the version for a request with `key`; without a key, draw by weight."""
        if self.sole is not None:
            return self.sole
        if key is not None:
            return self._versions[choose(self._route, self.name, key)]
        drawn, cumulative = self._drawn
        return drawn[draw(cumulative, random.random())]

    def choose_ready(self, version: Version, deadline: Deadline) -> ChosenVersion:
        """Return `version` once it is ready, else the fallback, which loads meanwhile.

        Raises:
            HotstartError: neither is ready before `deadline`, with the reason in the message.
        """
        if version.model is not None:  # the caller leases it: one lease is enough
            version.metrics.tally.add("hits")
            return ChosenVersion(version, None)
        version.metrics.tally.add("misses")
        spare = self.spare
        if spare is None:
            version.wait(deadline.left)
            return ChosenVersion(version, None)
        second = spare.choose(None)
        second.start()
        try:
            version.wait(deadline.left)
            return ChosenVersion(version, None)
        except HotstartError as error:
            try:
                choice = spare.choose_ready(second, deadline)
            except HotstartError as spare_error:
                still_loading = isinstance(spare_error, NotReady)
                failed = not isinstance(error, NotReady)
                raise (spare_error if still_loading and failed else error) from None
            version.metrics.tally.add("fallbacks")
            return choice._replace(reason=choice.reason or error.facts)

    async def achoose_ready(self, version: Version, deadline: Deadline) -> ChosenVersion:
        """Await the version that answers; see `choose_ready`.

        Await the load on the event loop. A worker thread waits only while the fallback loads too,
        so that callers of a slow model do not exhaust the thread pool.
        """
        from hotstart.pool.aio import in_thread, until_ready  # coroutines have asyncio loaded

        if version.model is None:
            spare = self.spare
            if spare is not None:
                spare.choose(None).start()
            with suppress(HotstartError):  # `choose_ready` decides what follows from the error
                await until_ready(version.instance, deadline.left)
        if version.model is not None:
            return self.choose_ready(version, deadline)
        return await in_thread(self.choose_ready, version, deadline, waits=True)

    def shadow_of(self, choice: ChosenVersion) -> Version | None:
        """Return the version that repeats a call which `choice` answered; None for no version."""
        if choice.reason is not None or self.shadow is choice.version:
            return None
        return self.shadow

    # Route, shadow -------------------------------------------------------------------------

    def set_route(self, weights: Mapping[str, float], timeout: float | None) -> None:
        """Route requests to versions by `weights`, once each of these versions is loaded.

        Raises:
            UnknownVersion: a label is unknown.
            InvalidInput: a weight is negative, or all are 0.
            HotstartError: a version was not loaded within `timeout`; the route stays.
        """
        self._make_ready(weights, timeout)
        self.lead(weights)

    def lead(self, weights: Mapping[str, float]) -> None:
        """Route requests by `weights` at once; remember the route before."""
        if self._route and weights != self._route:
            self._before.append(self._route)
        self._apply(weights)

    def rollback(self, timeout: float | None) -> RegisteredModelInfo:
        """Route requests as before the last `lead`.

        Raises:
            InvalidInput: there was no route before.
            HotstartError: see `set_route`.
        """
        if not self._before:
            expected = "a model whose route was changed: nothing served before this one"
            raise InvalidInput("the model to roll back", got=self.name, expected=expected)
        self._make_ready(self._before[-1], timeout)
        self._apply(self._before.pop())
        return self.info

    def set_shadow(self, label: str | None) -> None:
        """Repeat calls on the version `label`; on none for None."""
        self.shadow = None if label is None else self.version(label)
        self.compose()
        if self.shadow is not None:
            self.shadow.start()

    # Load, unload --------------------------------------------------------------------------

    def reload(self, label: str | None) -> None:
        """Reload the version `label`; for None, every version that requests are routed to."""
        for version in self.wanted if label is None else [self.version(label)]:
            version.reload()

    def keep_alive(self, seconds: float | None) -> None:
        """Unload the routed versions `seconds` after their last use; never for None."""
        for version in self.wanted:
            version.keep_alive(seconds)

    def unload(self, timeout: float | None = None) -> None:
        """Free the memory of all versions once the calls in flight have ended.

        Wait at most `timeout` seconds for them all; see `Instance.unload`.
        """
        deadline = Deadline(timeout)
        for version in self.versions:
            version.unload(deadline.left)

    # Status --------------------------------------------------------------------------------

    def compose(self) -> None:
        """Compose `info` again, if the model has a route yet."""
        with self._lock:
            if not self._route:
                return
            leading = max(self._route, key=lambda label: self._route[label])
            version = self._versions[leading]
            account = version.account
            self.info = RegisteredModelInfo(
                name=self.name,
                kind=self.kind,
                status=account.status,
                reason=account.reason,
                loaded_at=account.loaded_at,
                load_duration=account.load_duration,
                version=leading,
                versions=tuple(self._versions),
                route=self._route,
                fallback=self.fallback,
                shadow=self.shadow.label if self.shadow else None,
                can_roll_back=bool(self._before),
                last_error=account.error or self._first_error(),
                serving=tuple(self._versions.values()),
                names=tuple(self.config.names) if self.config else (),
            )

    def _first_error(self) -> HotstartError | None:
        return next((v.account.error for v in self.wanted if v.account.error), None)

    def _make_ready(self, weights: Mapping[str, float], timeout: float | None) -> None:
        """Check `weights`, and load every version that they route requests to."""
        if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
            expected = "weights not below 0, one of them above"
            raise InvalidInput("the route", got=dict(weights), expected=expected)
        deadline = Deadline(timeout)
        for version in [self.version(label) for label, weight in weights.items() if weight]:
            version.wait(deadline.left)

    def _apply(self, route: Mapping[str, float]) -> None:
        positive = {label: weight for label, weight in route.items() if weight > 0}
        with self._lock:
            self._route = dict(route)
            only = next(iter(positive)) if len(positive) == 1 else None
            self._drawn = (
                [self._versions[label] for label in positive],
                list(itertools.accumulate(positive.values())),
            )
            self.sole = self._versions[only] if only is not None else None
        self.compose()
