"""Imports are billed to the package that caused them, between the right marks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hotstart.profiling.stages import STANDARD_LIBRARY, import_times, package_of

LOG = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   encodings
import time:        50 |        150 | site
hotstart mark start
import time:       300 |        300 |     json
import time:       200 |        500 |   hotstart.config
import time:       100 |        600 | hotstart.embedder
hotstart mark imported
a warning that a library wrote
import time:       400 |        400 |       flatbuffers
import time:       700 |       1100 |     json.decoder
import time:       900 |       2000 |   numpy.linalg
import time:      1000 |       3000 | numpy
hotstart mark ready
"""


def test_a_module_counts_for_the_outermost_third_party_package_above_it() -> None:
    times = import_times(LOG)
    assert times["spawn"] == pytest.approx({STANDARD_LIBRARY: 150e-6})
    assert times["start"] == pytest.approx({STANDARD_LIBRARY: 300e-6, "hotstart": 300e-6})
    assert times["imported"] == pytest.approx({"numpy": 3000e-6})
    assert times["ready"] == {}


def test_every_microsecond_of_a_real_log_is_billed_once() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import hotstart, email, numpy"]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    lines = [line.split("|")[0].partition(":")[2] for line in log.splitlines()[1:]]
    (times,) = import_times(log).values()
    assert sum(times.values()) == pytest.approx(sum(map(int, lines)) / 1e6)
    assert {"numpy", "hotstart", STANDARD_LIBRARY} <= times.keys()


def test_packages() -> None:
    names = ("os.path", "hotstart.cli", "numpy")
    assert [package_of(name) for name in names] == [STANDARD_LIBRARY, "hotstart", "numpy"]
