from __future__ import annotations

import threading

from hotstart.registry.version import Uses, VersionMetrics
from hotstart.telemetry import HistogramSnapshot


def test_concurrent_uses_are_all_counted() -> None:
    uses = Uses()
    read: list[int] = []

    def count() -> None:
        for _ in range(5000):
            uses.count()

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read.append(uses.number)
    assert read == sorted(read)
    assert uses.number == uses.number == 40_000


def test_every_metric_has_unique_name_and_help() -> None:
    metrics = VersionMetrics()
    metrics.tally.add("calls", 3)
    metrics.latency.observe(0.2)
    read = {figure.name: figure for figure in metrics.read({"model": "m"}, uses=7)}
    assert len(read) == len(list(metrics.read({}, 0)))
    assert read["hotstart_model_calls_total"].value == 3
    assert read["hotstart_model_uses_total"].value == 7
    latency = read["hotstart_model_latency_seconds"].value
    assert isinstance(latency, HistogramSnapshot)
    assert latency.total == 1
    assert all(figure.help and figure.labels == {"model": "m"} for figure in read.values())
    assert all(
        figure.name.endswith("_total") for figure in read.values() if figure.kind == "counter"
    )
