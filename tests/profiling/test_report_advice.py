"""Each rule speaks where it should, with its saving, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from hotstart.profiling.report import RULES, RunFacts, advise, trials
from hotstart.profiling.stages import StageTime

QUIET = RunFacts(
    model="m",
    strategy="progressive",
    loaded=("fast_start", "full"),
    dont_write_bytecode=False,
    uncompiled=(),
    other_file_system=False,
    marks=("start", "metadata", "fast_start"),
    first_run_ms=110.0,
    total_ms=100.0,
    stages=(
        StageTime("import hotstart", "import", 0.0, 20.0),
        StageTime("session", "load", 20.0, 80.0),
    ),
)


def test_nothing_is_said_where_nothing_is_to_be_said() -> None:
    assert trials(QUIET) == {}
    assert advise(QUIET, {}) == []


@pytest.mark.parametrize(
    ("changed", "tried", "name", "saves"),
    [
        ({"uncompiled": ("numpy", "json")}, {"bytecode": 60.0}, "bytecode", 40.0),
        ({"marks": ("start", "locating"), "first_run_ms": 500.0}, {}, "prepare", 400.0),
        ({"marks": ("start", "locating"), "first_run_ms": 90.0}, {}, "prepare", None),
        ({"first_run_ms": 300.0}, {}, "cold files", 200.0),
        ({"strategy": "eager", "loaded": ("full",)}, {"fast_start": 80.0}, "fast_start", 20.0),
        ({"strategy": "lazy"}, {}, "start early", 80.0),
        ({"stages": (StageTime("import numpy", "import", 0, 60.0),)}, {}, "one process", 60.0),
        (
            {
                "stages": (
                    StageTime("interpreter", "interpreter", 0, 5.0),
                    StageTime("import hook", "import", 5.0, 9.0),
                    StageTime("constructor", "load", 14.0, 1.0),
                )
            },
            {},
            "environment",
            9.0,
        ),
        ({"stages": (StageTime("import torch", "import", 0, 30.0),)}, {}, "torch", 30.0),
        ({"other_file_system": True}, {}, "other file system", None),
    ],
)
def test_a_rule_speaks(
    changed: dict[str, Any], tried: dict[str, float], name: str, saves: float | None
) -> None:
    facts = QUIET._replace(**changed)
    assert trials(facts).keys() == tried.keys()
    (advice,) = advise(facts, tried)
    assert (advice.name, advice.saves_ms) == (name, saves)
    assert not any(mark in advice.finding + advice.remedy for mark in "{}")
    assert not advice.remedy.endswith(".")


def test_a_trial_that_saved_next_to_nothing_is_not_mentioned() -> None:
    facts = QUIET._replace(uncompiled=("numpy",))
    assert advise(facts, {"bytecode": 98.5}) == []
    assert advise(facts, {"bytecode": 120.0}) == []


def test_the_largest_saving_comes_first() -> None:
    facts = QUIET._replace(
        uncompiled=("numpy",), marks=("locating",), first_run_ms=900.0, other_file_system=True
    )
    said = advise(facts, {"bytecode": 50.0})
    assert [advice.name for advice in said] == ["prepare", "bytecode", "other file system"]


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
