"""Everything there is to see of a service at one moment, as one document."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from hotstart._version import __version__
from hotstart.errors import HotstartError
from hotstart.system import memory_left, resident_memory
from hotstart.telemetry import Distribution, Figure

if TYPE_CHECKING:
    from hotstart.registry.model import Entry
    from hotstart.registry.version import Version
    from hotstart.server.service import Service

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(figures: Iterable[Figure]) -> bytes:
    """Return `figures` in Prometheus' text format, one family for each name."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(figures)))
    return generate_latest(registry)


class _Collected:
    """What a collector is to prometheus_client: something that gives families."""

    def __init__(self, figures: list[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        named: dict[str, list[Figure]] = {}
        for figure in self._figures:
            named.setdefault(figure.name, []).append(figure)
        for figures in named.values():
            yield _family(figures)


def _family(figures: list[Figure]) -> Metric:
    """Figures of one name; labels that only some have are empty in the others."""
    labels = sorted({label for figure in figures for label in figure.labels})
    first = figures[0]
    family: Any = _FAMILIES[first.kind](first.name, first.help, labels=labels)
    for figure in figures:
        values = [figure.labels.get(label, "") for label in labels]
        if isinstance(figure.value, Distribution):
            family.add_metric(values, _buckets(figure.value), figure.value.sum)
        else:
            family.add_metric(values, figure.value)
    made: Metric = family
    return made


def _buckets(seen: Distribution) -> list[tuple[str, float]]:
    bounds = [*map(str, seen.bounds), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, seen.counts, strict=True)]


_FAMILIES = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


_LANES = {
    "waiting": "hotstart_queue_waiting",
    "running": "hotstart_queue_running",
    "done": "hotstart_queue_calls_total",
    "texts": "hotstart_queue_texts_total",
    "refused": "hotstart_queue_refused_total",
    "dropped": "hotstart_queue_dropped_total",
}


def overview(service: Service) -> dict[str, Any]:
    """Return what is seen of the service and of each model; docs/server.md tells the fields."""
    return {
        "service": _of_service(service),
        "models": [_of_model(service, entry) for entry in service.registry.entries().values()],
    }


def health(service: Service) -> dict[str, Any]:
    """Return how many models are in which state, and why."""
    entries = service.registry.entries()
    statuses = [entry.status for entry in entries.values()]
    counted = ("ready", "loading", "failed", "skipped", "unloaded")
    return {
        "status": service.status,
        **{status: statuses.count(status) for status in counted},  # type: ignore[arg-type]
        "models": {
            name: {"status": entry.status, "reason": entry.reason}
            for name, entry in entries.items()
        },
    }


def _of_service(service: Service) -> dict[str, Any]:
    left, config = memory_left(), service.config
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": service.started,
        "uptime": round(time.time() - service.started, 1),
        "status": service.status,
        "memory": {
            "rss": resident_memory(),
            "limit": None,
            "left": left.bytes,
            "limited_by": left.limit,
        },
        "index": config.index is not None,
        "keys": {"api": bool(config.api_key), "admin": bool(config.admin_key)},
        "draining": service.draining.begun,
        "requests": service.figures.summary(),
    }


def _of_model(service: Service, entry: Entry) -> dict[str, Any]:
    loaded: Any = next((v.model for v in entry.serving if v.label == entry.version), None)
    figures = list(loaded.figures()) if hasattr(loaded, "figures") else []
    moment = entry.loaded_at
    return {
        "name": entry.name,
        "kind": entry.model_type,
        "status": entry.status,
        "reason": entry.reason,
        "version": entry.version,
        "engine": getattr(loaded, "engine", None) if figures else None,
        "dimension": loaded.dimension if hasattr(loaded, "dimension") else None,
        "fallback": entry.fallback,
        "shadow": entry.shadow,
        "can_rollback": entry.can_roll_back,
        "loaded_at": None if moment is None else moment.timestamp(),
        "load_seconds": entry.load_duration,
        "uses": entry.uses,
        "memory": entry.memory,
        "error": _of_error(entry.last_error),
        "timeline": service.timeline.of(entry.name),
        "versions": [_of_version(entry, version) for version in entry.serving],
        "lanes": _lanes(figures),
        "cache": _cache(loaded),
    }


def _of_version(entry: Entry, version: Version) -> dict[str, Any]:
    seen = version.figures.latency.read()
    total = sum(entry.route.values()) or 1.0
    return {
        "version": version.label,
        "status": version.account.status,
        "reason": version.account.reason,
        "share": entry.route.get(version.label, 0.0) / total,
        "uses": version.uses,
        "calls": version.figures.tally["calls"],
        "errors": version.figures.tally["errors"],
        "memory": version.memory,
        "p50": seen.quantile(0.5),
        "p99": seen.quantile(0.99),
        "latency": seen._asdict(),
    }


def _of_error(error: HotstartError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.facts, "remedy": error.remedy}


def _lanes(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """The queues of a model, from what it counts of them."""
    lanes: dict[str, dict[str, float]] = {}
    for figure in figures:
        if "lane" in figure.labels and not hasattr(figure.value, "counts"):
            lanes.setdefault(figure.labels["lane"], {})[figure.name] = figure.value
    return [
        {"lane": lane} | {name: counted.get(figure, 0) for name, figure in _LANES.items()}
        for lane, counted in lanes.items()
    ]


def _cache(model: Any) -> dict[str, int] | None:
    if not getattr(model, "has_cache", False):
        return None
    told = model.cache_info()
    names = ("hits", "misses", "entries", "bytes", "prefetch_hits", "prefetch_wasted")
    return {name: getattr(told, name) for name in names}
