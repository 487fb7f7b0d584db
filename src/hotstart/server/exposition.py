"""Figures as Prometheus reads them. The only file that imports prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from hotstart.telemetry import Distribution, Figure

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
