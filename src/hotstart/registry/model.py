"""One registered model: versions, routing, fallback, rollback."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from bisect import bisect
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from hotstart.concurrency import ForkLock
from hotstart.errors import HotstartError, UnknownVersion
from hotstart.registry.config import ModelConfig
from hotstart.registry.version import EntryStatus, Version


def draw(cumulative: Sequence[float], share: float) -> int:
    """Return the place whose part of the sum `share`, 0 to 1, falls into.

    `cumulative` are the sums of the weights up to each place.
    """
    return bisect(cumulative, share * cumulative[-1], 0, len(cumulative) - 1)


def choose(weights: Mapping[str, float], model: str, key: str) -> str:
    """Return the version that answers `key`, each getting its share of all keys.

    Weighted rendezvous hashing (Schindelhauer and Schomaker 2005, "Weighted Distributed Hash
    Tables"): the version with the least -ln(h) / weight, h uniform in (0, 1) by version and key.
    A key stays with its version unless that one loses weight or another gains it.

    Args:
        weights: of each version, at least one of them positive; they need not add up to anything.
        model: takes part in the hash, so that the same keys fall differently for each model.
        key: of the request, such as a user's name.
    """
    positive = {version: weight for version, weight in weights.items() if weight > 0}
    return min(positive, key=lambda v: (-math.log(_uniform(model, v, key)) / positive[v], v))


def _uniform(*parts: str) -> float:
    """A number in (0, 1) by the hash of `parts`."""
    digest = hashlib.blake2b("\0".join(parts).encode(errors="surrogatepass"), digest_size=8)
    return (int.from_bytes(digest.digest(), "big") + 0.5) / 2**64


class RegisteredModelInfo(NamedTuple):
    """A registered model at one moment.

    Attributes:
        name: in the registry.
        model_type: its kind.
        status: of the version that serves; `skipped` where an optional dependency is missing.
        reason: why, for a person to read.
        loaded_at: when what serves was loaded, in UTC; None before.
        load_duration: seconds that took.
        version: that serves, or serves most.
        versions: all there are.
        route: the share of requests that each version answers.
        last_error: why the last load, or reload, failed: of the version that serves, else of
            another that requests are led to; None after ones that went well.
        fallback: the model that is given where this one is not ready.
        shadow: the version on which calls are repeated.
        can_roll_back: whether the route was another before.
        serving: where uses and memory are counted.
    """

    name: str
    model_type: str
    status: EntryStatus
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

    @property
    def uses(self) -> int:
        """The number of uses, over all versions."""
        return sum(version.uses for version in self.serving)

    @property
    def memory(self) -> int:
        """About how many bytes its loaded versions take."""
        return sum(version.memory for version in self.serving)


class RegisteredModel:
    """One registered model: versions, route, fallback, shadow. Its methods may be called from any
    thread.

    Attributes:
        sole: the version that answers every request; None where the route has several.
        entry: what is told of it.
        shadow: the version on which calls are repeated, if any.
        fallback: the model that is given where this one is not ready.
        config: what it was made from; None where the program made it.
    """

    entry: RegisteredModelInfo

    def __init__(self, name: str, kind: str, config: ModelConfig | None = None) -> None:
        self.name, self.kind, self.config = name, kind, config
        self.sole: Version | None = None
        self.shadow: Version | None = None
        self.fallback: str | None = None
        self._versions: dict[str, Version] = {}
        self._route: Mapping[str, float] = {}
        self._drawn: tuple[list[Version], list[float]] = ([], [])
        self._before: list[Mapping[str, float]] = []
        self._lock = ForkLock()

    def version(self, label: str) -> Version:
        """Return the version called `label`; UnknownVersion where there is none."""
        try:
            return self._versions[label]
        except KeyError:
            raise UnknownVersion(self.name, label, known=list(self._versions)) from None

    def choose(self, key: str | None) -> Version:
        """Return the version that answers a request of `key`; drawn by weight without one."""
        if self.sole is not None:
            return self.sole
        if key is not None:
            return self._versions[choose(self._route, self.name, key)]
        drawn, cumulative = self._drawn
        return drawn[draw(cumulative, random.random())]

    @property
    def versions(self) -> list[Version]:
        """All versions."""
        return list(self._versions.values())

    @property
    def wanted(self) -> list[Version]:
        """Those that the route leads to, and the shadow."""
        route = self._route
        routed = [self._versions[label] for label, weight in route.items() if weight > 0]
        return routed + ([self.shadow] if self.shadow and self.shadow not in routed else [])

    @property
    def previous(self) -> Mapping[str, float] | None:
        """The route before this one, None where there was none."""
        return self._before[-1] if self._before else None

    def add(self, version: Version) -> Version | None:
        """Hold `version`, answering nothing yet; return the one it takes the place of, if any."""
        with self._lock:
            replaced = self._versions.get(version.label)
            self._versions = self._versions | {version.label: version}
        if self._route:
            self._route_to(self._route)
        return replaced

    def set_route(self, route: Mapping[str, float]) -> None:
        """Lead requests by these weights from now on, and remember those of before."""
        if self._route and route != self._route:
            self._before.append(self._route)
        self._route_to(route)

    def go_back(self) -> None:
        """Lead requests as before the last `set_route`."""
        self._route_to(self._before.pop())

    def compose(self) -> None:
        """Tell anew what is known of it, once requests are led anywhere."""
        with self._lock:
            if not self._route:
                return
            leading = max(self._route, key=lambda label: self._route[label])
            version = self._versions[leading]
            account = version.account
            self.entry = RegisteredModelInfo(
                name=self.name,
                model_type=self.kind,
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
            )

    def _first_error(self) -> HotstartError | None:
        return next((v.account.error for v in self.wanted if v.account.error), None)

    def _route_to(self, route: Mapping[str, float]) -> None:
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
