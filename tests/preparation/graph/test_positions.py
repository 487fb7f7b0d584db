"""Slopes, buckets and speeds, compared with values from the papers and from transformers."""

from __future__ import annotations

import numpy as np
import pytest

from hotstart.preparation.graph.disentangled import position_rows
from hotstart.preparation.graph.positions import (
    distance_buckets,
    linear_slopes,
    rotation_speeds,
)

DEFAULT = {"rope_type": "default", "rope_factor": 1.0}


def test_slopes_of_a_power_of_two_are_a_geometric_series() -> None:
    assert linear_slopes(8) == [2.0**-n for n in range(1, 9)]


def test_slopes_of_another_number_take_every_second_of_the_next_power() -> None:
    assert linear_slopes(12) == [
        *(2.0**-n for n in range(1, 9)),
        *(2.0 ** -(n / 2) for n in (1, 3, 5, 7)),
    ]


def test_far_distances_share_a_bucket() -> None:
    buckets = distance_buckets(32, 128)
    assert len(buckets) == 257
    assert buckets[128 - 7 : 128 + 8] == [7, 6, 5, 4, 3, 2, 1, 0, *range(17, 24)]
    assert buckets[0] == 15
    assert buckets[-1] == 31


def test_rows_are_single_for_small_distances_and_clipped_for_large_ones() -> None:
    rows = position_rows(40, 16, 32, 16)
    assert rows[40 - 8 : 40 + 9] == list(range(8, 25))
    assert rows[0] == min(rows) == 0
    assert rows[-1] == max(rows) == 31


def test_speeds_fall_from_one() -> None:
    expected = [1, 100**-0.5, 100**-1, 100**-1.5]
    assert rotation_speeds(8, 10_000.0, DEFAULT) == pytest.approx(expected)
    linear = rotation_speeds(8, 10_000.0, {"rope_type": "linear", "rope_factor": 4.0})
    assert linear == pytest.approx([speed / 4 for speed in expected])


def test_ntk_slows_long_waves_only() -> None:
    plain = rotation_speeds(64, 10_000.0, DEFAULT)
    scaled = rotation_speeds(64, 10_000.0, {"rope_type": "ntk", "rope_factor": 8.0})
    ratio = plain / scaled
    assert ratio[0] == pytest.approx(8 ** (2 / 64))
    assert ratio[-1] == pytest.approx(8, rel=1e-4)
    assert (np.diff(ratio) > 0).all()
