"""The status document and the Prometheus text of a service."""

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
)
from prometheus_client.core import Metric as MetricFamily

from hotstart._version import __version__
from hotstart.errors import HotstartError
from hotstart.system import memory_left, memory_limit, resident_memory
from hotstart.telemetry import HistogramSnapshot, Metric

if TYPE_CHECKING:
    from hotstart.cached_encoder import CacheInfo
    from hotstart.registry.model import RegisteredModelInfo
    from hotstart.registry.version import Version
    from hotstart.server.service import Service

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return `metrics` in Prometheus' text format, one family for each name."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(metrics)))
    return generate_latest(registry)


class _Collected:
    """A collector for prometheus_client."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[MetricFamily]:
        named: dict[str, list[Metric]] = {}
        for figure in self._metrics:
            named.setdefault(figure.name, []).append(figure)
        for metrics in named.values():
            yield _family(metrics)


def _family(metrics: list[Metric]) -> MetricFamily:
    """Return the family of metrics of one name; labels that a metric lacks are empty."""
    labels = sorted({label for figure in metrics for label in figure.labels})
    first = metrics[0]
    family: Any = _FAMILIES[first.kind](first.name, first.help, labels=labels)
    for figure in metrics:
        values = [figure.labels.get(label, "") for label in labels]
        if isinstance(figure.value, HistogramSnapshot):
            family.add_metric(values, _buckets(figure.value), figure.value.sum)
        else:
            family.add_metric(values, figure.value)
    typed: MetricFamily = family
    return typed


def _buckets(snapshot: HistogramSnapshot) -> list[tuple[str, float]]:
    bounds = [*map(str, snapshot.bounds), "+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, snapshot.counts, strict=True)]


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
    """Return the status document of the service and its models; see docs/server.md."""
    return {
        "service": _of_service(service),
        **counts(service),
        "models": [_of_model(service, info) for info in service.registry.models().values()],
    }


def counts(service: Service) -> dict[str, Any]:
    """Return how many models there are, and whether all that can be loaded are."""
    statuses = [info.status for info in service.registry.models().values()]
    loaded = statuses.count("ready")
    skipped = statuses.count("skipped")
    return {
        "is_loaded": bool(statuses) and loaded == len(statuses) - skipped,
        "total_models": len(statuses),
        "loaded_models": loaded,
        "failed_models": statuses.count("failed"),
        "skipped_models": skipped,
    }


def health(service: Service) -> dict[str, Any]:
    """Return the number of models in each state, and each model's reason."""
    infos = service.registry.models()
    statuses = [info.status for info in infos.values()]
    counted = ("ready", "loading", "failed", "skipped", "unloaded")
    numbers = counts(service)
    message = f"{numbers['loaded_models']} of {numbers['total_models']} models are loaded"
    if numbers["failed_models"]:
        message += f", {numbers['failed_models']} failed"
    return {
        "status": service.status,
        "message": message,
        "loaded_models": numbers["loaded_models"],
        "failed_models": numbers["failed_models"],
        **{status: statuses.count(status) for status in counted},  # type: ignore[arg-type]
        "models": {
            name: {"status": info.status, "reason": info.reason} for name, info in infos.items()
        },
    }


def _of_service(service: Service) -> dict[str, Any]:
    left = memory_left()
    config = service.config
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": service.started,
        "uptime": round(time.time() - service.started, 1),
        "status": service.status,
        "memory": {
            "rss": resident_memory(),
            "limit": memory_limit(),
            "left": left.bytes,
            "limited_by": left.limit,
        },
        "index": config.searches,
        "keys": {"api": bool(config.api_key), "admin": bool(config.admin_key)},
        "draining": service.draining.begun,
        "requests": service.metrics.summary(),
    }


def _of_model(service: Service, info: RegisteredModelInfo) -> dict[str, Any]:
    loaded = info.leading.loaded
    metrics = list(loaded.metrics()) if loaded else []
    moment = info.loaded_at
    return {
        "name": info.name,
        "kind": info.kind,
        "model_type": info.kind,
        "status": info.status,
        "reason": info.reason,
        "version": info.version,
        "engine": loaded.engine if loaded else None,
        "dimension": loaded.dimension if loaded else None,
        "fallback": info.fallback,
        "shadow": info.shadow,
        "can_rollback": info.can_roll_back,
        "loaded_at": None if moment is None else moment.timestamp(),
        "load_seconds": info.load_duration,
        "load_duration": info.load_duration,
        "uses": info.uses,
        "memory": info.memory,
        "error": _of_error(info.last_error),
        "timeline": service.timeline.of(info.name),
        "versions": [_of_version(info, version) for version in info.serving],
        "lanes": _lanes(metrics),
        "cache": _cache(loaded.cache_info() if loaded else None),
    }


def _of_version(info: RegisteredModelInfo, version: Version) -> dict[str, Any]:
    latency = version.metrics.latency.read()
    total = sum(info.route.values()) or 1.0
    return {
        "version": version.label,
        "status": version.account.status,
        "reason": version.account.reason,
        "share": info.route.get(version.label, 0.0) / total,
        "uses": version.uses,
        "calls": version.metrics.tally["calls"],
        "errors": version.metrics.tally["errors"],
        "memory": version.memory,
        "p50": latency.quantile(0.5),
        "p99": latency.quantile(0.99),
        "latency": latency._asdict(),
    }


def _of_error(error: HotstartError | None) -> dict[str, str] | None:
    return None if error is None else {"reason": error.facts, "remedy": error.remedy}


def _lanes(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """Return the queues of a model from its metrics."""
    lanes: dict[str, dict[str, float]] = {}
    for figure in metrics:
        if "lane" in figure.labels and not hasattr(figure.value, "counts"):
            lanes.setdefault(figure.labels["lane"], {})[figure.name] = figure.value
    return [
        {"lane": lane} | {name: counted.get(figure, 0) for name, figure in _LANES.items()}
        for lane, counted in lanes.items()
    ]


def _cache(info: CacheInfo | None) -> dict[str, int] | None:
    if info is None:
        return None
    return {
        "hits": info.hits,
        "misses": info.misses,
        "entries": info.entries,
        "bytes": info.bytes,
        "prefetch_hits": info.prefetch_hits,
        "prefetch_wasted": info.prefetch_wasted,
    }
