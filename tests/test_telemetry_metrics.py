"""Counts and distributions, as Prometheus reads them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from hotstart.telemetry import Counters, Histogram, HistogramSnapshot, Metric


@given(st.lists(st.floats(0, 100), max_size=50))
def test_each_bucket_counts_what_is_at_most_its_bound(values: list[float]) -> None:
    bounds = (0.5, 1.0, 10.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    seen = histogram.read()
    expected = [sum(value <= bound for value in values) for bound in bounds]
    assert seen.counts == (*expected, len(values))
    assert seen.total == len(values)
    assert abs(seen.sum - sum(values)) < 1e-6


def test_a_quantile_is_the_bound_below_which_that_share_lies() -> None:
    seen = HistogramSnapshot((1.0, 2.0), (50, 90, 100), 120.0)
    assert [seen.quantile(share) for share in (0.5, 0.51, 0.9, 0.95)] == [
        *(1.0, 2.0, 2.0, float("inf")),
    ]
    assert HistogramSnapshot((1.0,), (0, 0), 0.0).quantile(0.5) is None


def test_nothing_is_lost_between_threads() -> None:
    histogram, tally = Histogram(), Counters()

    def work(_: int) -> None:
        for _ in range(500):
            histogram.observe(0.1)
            tally.add("a")
            tally.add("b", 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert histogram.read().total == tally["a"] == 4000
    assert tally["b"] == 8000
    assert tally["never"] == 0


def test_a_figure_has_no_labels_unless_given() -> None:
    assert dict(Metric("n_total", "counter", "what", 1).labels) == {}
