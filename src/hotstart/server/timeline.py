"""The last load of each version, stage by stage: when each began, and when it ended."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from hotstart.registry.events import Change, Step


class Stage(NamedTuple):
    """A stage of a load, in seconds since the load began; `end` is None while it goes on."""

    version: str
    stage: str
    start: float
    end: float | None


class Timeline:
    """Listens to a registry. One thread tells it of events, any thread may read."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str], float] = {}
        self._stages: dict[tuple[str, str], tuple[Stage, ...]] = {}

    def step(self, step: Step) -> float:
        """Note a step of a load; return how many seconds after its beginning that is."""
        key = (step.name, step.version)
        at = step.at - self._began.setdefault(key, step.at)
        stages = self._stages.get(key, ())
        if not stages or stages[-1].stage != step.stage or stages[-1].end is not None:
            self._stages[key] = (*_ended(stages, at), Stage(step.version, step.stage, at, None))
        return at

    def change(self, change: Change) -> None:
        """Note that a load began, or ended."""
        key = (change.name, change.version)
        if change.status == "loading":
            self._began[key] = change.at
            self._stages[key] = ()
        elif key in self._began:
            self._stages[key] = _ended(self._stages.get(key, ()), change.at - self._began[key])

    def under_way(self) -> list[dict[str, Any]]:
        """Return what is being loaded at this moment, as progress is told; how far is not known."""
        now = time.time()
        return [
            {
                "model": name,
                "version": version,
                "stage": stages[-1].stage,
                "fraction": None,
                "elapsed": now - self._began[name, version],
            }
            for (name, version), stages in list(self._stages.items())
            if stages and stages[-1].end is None
        ]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the stages of every version of the model `name`."""
        kept = list(self._stages.items())
        return [stage._asdict() for key, stages in kept if key[0] == name for stage in stages]


def _ended(stages: tuple[Stage, ...], at: float) -> tuple[Stage, ...]:
    if not stages or stages[-1].end is not None:
        return stages
    return (*stages[:-1], stages[-1]._replace(end=at))
