from __future__ import annotations

import os
from pathlib import Path

import pytest
from benchmarks.measure import ChildFailed, child_environment, cosine, spawn


def test_the_clock_stops_at_the_answer_and_not_at_the_exit(tmp_path: Path) -> None:
    program = "import time; print('noise', flush=True); print('answer', flush=True); time.sleep(2)"
    run = spawn(program, child_environment(tmp_path), tmp_path)
    assert run.output == "noise\nanswer\n"
    assert run.seconds < 2


def test_memory_is_the_childs_own(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(1 << 20) * 200)  # which the child must not inherit
    small = spawn("print()", child_environment(tmp_path), tmp_path)
    large = spawn(
        "b = bytearray(b'x') * (100 << 20); print()", child_environment(tmp_path), tmp_path
    )
    assert small.peak_bytes < len(ballast) // 2
    assert large.peak_bytes - small.peak_bytes > 90 << 20


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import sys; print('x'); sys.exit('out of luck')", "out of luck"),
        ("pass", "exit status 0"),
        ("import time; time.sleep(60)", "killed after 1 s"),
    ],
)
def test_a_failing_child_is_told_with_its_error(tmp_path: Path, program: str, told: str) -> None:
    with pytest.raises(ChildFailed, match=told):
        spawn(program, child_environment(tmp_path), tmp_path, timeout=1)


def test_children_use_bytecode_and_the_given_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("HOTSTART_CACHE_DIR", "elsewhere")
    env = child_environment(tmp_path)
    assert not {"PYTHONDONTWRITEBYTECODE", "HOTSTART_CACHE_DIR"} & env.keys()
    assert env["XDG_CACHE_HOME"] == str(tmp_path)


def test_cosine() -> None:
    assert cosine([1, 2], [2, 4]) == pytest.approx(1)
    assert cosine([1, 0], [0, 3]) == 0
