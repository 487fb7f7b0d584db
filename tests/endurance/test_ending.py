"""The exit status of programs that end with work under way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from endurance.ending import WORK
from hotstart import Embedder

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("HOTSTART_TESTS_RUNS", "5"))


@pytest.fixture(scope="module", autouse=True)
def prepared() -> None:
    Embedder("all-MiniLM-L6-v2").encode("The model is prepared for every process.")


@pytest.mark.parametrize("work", WORK)
def test_a_program_ends_with_its_own_status(work: str) -> None:
    program = [sys.executable, str(Path(__file__).with_name("ending.py")), work]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for _ in range(RUNS):
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (7, "")
