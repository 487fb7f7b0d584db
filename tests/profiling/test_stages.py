"""Runs become stages that follow one another and lose nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest

from hotstart.profiling.stages import Run, account, medians, of_a_peer

MARKS = {
    "start": 0.01,
    "imported": 0.04,
    "metadata": 0.041,
    "full": 0.042,
    "ready": 0.142,
    "first vector": 0.150,
}
LOG = """\
hotstart mark start
import time:     20000 |      20000 | hotstart.embedder
hotstart mark full
import time:     50000 |      50000 | numpy
import time:     10000 |      10000 | tokenizers
hotstart mark ready
"""


def watched(factor: float = 1.0) -> Run:
    return Run(MARKS, LOG, {"tokenizer": 0.02 * factor})


def test_stages_follow_one_another_and_add_up() -> None:
    stages = account([Run(MARKS, "", {})], [watched()])
    assert [stage.name for stage in stages] == [
        "interpreter",
        "import hotstart",
        "imports, the rest",
        "constructor",
        "metadata",
        "import numpy",
        "session",
        "import tokenizers",
        "tokenizer",
        "first inference",
    ]
    took = {stage.name: stage.ms for stage in stages}
    assert took["import numpy"] == pytest.approx(50)
    assert took["tokenizer"] == pytest.approx(20)
    assert took["session"] == pytest.approx(20)
    assert sum(took.values()) == pytest.approx(150)
    for stage, following in pairwise(stages):
        assert following.start_ms == pytest.approx(stage.start_ms + stage.ms)


def test_the_slower_watched_run_gives_shares_not_times() -> None:
    half = {name: when / 2 for name, when in MARKS.items()}
    took = {stage.name: stage.ms for stage in account([Run(half, "", {})], [watched()])}
    assert took["import numpy"] == pytest.approx(25)
    assert sum(took.values()) == pytest.approx(75)


def test_shares_beyond_the_whole_leave_no_negative_stage() -> None:
    stages = account([Run(MARKS, "", {})], [watched(9.0)])
    assert min(stage.ms for stage in stages) >= 0
    assert sum(stage.ms for stage in stages) == pytest.approx(150)


def test_a_load_that_prepares_says_so() -> None:
    marks = MARKS | {"locating": 0.0412, "weights": 0.0414}
    marks = dict(sorted(marks.items(), key=lambda item: item[1]))
    names = [stage.name for stage in account([Run(marks, "", {})], [watched()])]
    assert names.count("preparing") == 1


def test_medians_keep_what_every_sample_has() -> None:
    samples = [{"a": 1.0, "b": 9.0}, {"a": 3.0}, {"a": 2.0, "b": 1.0}]
    assert medians(samples) == {"a": 2.0}


def test_a_peer_has_imports_load_and_first_text() -> None:
    stages = of_a_peer({"spawn": 0.1, "start": 2.0, "imported": 0.3, "ready": 0.1})
    assert [stage.name for stage in stages] == ["interpreter", "import", "load", "first inference"]
