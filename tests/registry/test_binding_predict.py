"""Calls of models that raise what no caller can be given, or never return."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from hotstart.errors import NotReady, PredictionFailed, PredictionTimeout
from registry.conftest import Make, custom
from support.golden import ROOT

ODD = ["StopIteration", "SystemExit", "KeyboardInterrupt", "Odd"]


@pytest.mark.parametrize("error", ODD)
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_coroutine_gets_what_the_model_raised_as_one_error(
    make: Make, error: str, timeout: float | None
) -> None:
    registry = make(m=custom("raising", error=error))
    with pytest.raises(PredictionFailed, match=rf"'m' raised {error}") as caught:
        asyncio.run(asyncio.wait_for(registry.apredict("m", 1, timeout=timeout), 60))
    assert type(caught.value.__cause__).__name__ == error


@pytest.mark.parametrize("error", ODD)
def test_a_thread_gets_what_the_model_raised_as_one_error(make: Make, error: str) -> None:
    with pytest.raises(PredictionFailed, match=rf"'m' raised {error}"):
        make(m=custom("raising", error=error)).predict("m", 1, timeout=60)


def test_ctrl_c_in_the_main_thread_is_the_program_s_own(make: Make) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(m=custom("raising", error="KeyboardInterrupt")).predict("m", 1)


def test_a_model_that_never_answers_ends_the_call_at_its_timeout(make: Make) -> None:
    registry = make(m=custom("hanging"))
    registry.load_all()
    began = time.monotonic()
    with pytest.raises(PredictionTimeout, match=r"'m' did not answer within 0\.\d+ s"):
        registry.predict("m", 1, timeout=0.2)
    with pytest.raises(PredictionTimeout):
        asyncio.run(registry.apredict("m", 1, timeout=0.2))
    assert time.monotonic() - began < 30


def test_a_model_that_is_still_loading_is_not_ready_rather_than_late(make: Make) -> None:
    registry = make(m=custom("gated", name="never opened"))
    with pytest.raises(NotReady):
        registry.predict("m", 1, timeout=0.1)


def test_a_timeout_changes_no_answer(make: Make) -> None:
    registry = make(m=custom(bias=1))
    assert registry.predict("m", [1], timeout=60).output == [2]
    assert asyncio.run(registry.apredict("m", [1], timeout=60)).output == [2]


PROGRAM = """
import asyncio, sys
from hotstart import ModelRegistry
registry = ModelRegistry.from_config(
    {"models": {"m": {"kind": "custom", "source": "registry.models:hanging"}}}
)
registry.load_all()
try:
    asyncio.run(registry.apredict("m", 1, timeout=0.2))
except TimeoutError:
    sys.exit(7)
"""


def test_a_program_ends_while_a_model_never_answers() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, timeout=60)
    assert done.returncode == 7
