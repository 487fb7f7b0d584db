"""The binding on other versions of ONNX Runtime, each beside its own package; and for long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
MEASURED = """
import os, sys
from support.ort_graphs import A, B, graph
from hotstart.ort import Session

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

content = graph()
def work(sessions, runs):
    for _ in range(sessions):
        session = Session(content, threads=1)
        for _ in range(runs):
            session.run(["c"], {"a": A, "b": B})

work(100, 50)
before = resident()
work(2000, 50)
print(before, resident())
"""


def python(code: list[str], **environ: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([environ.pop("FIRST", ""), str(TESTS)])
    return subprocess.run(
        [sys.executable, *code],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "PYTHONPATH": path, **environ},
        cwd=TESTS,
    )


@pytest.mark.parametrize("version", ["1.22.1", "1.24.4", "1.27.0"])
def test_the_binding_runs_other_versions(version: str, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*install, str(tmp_path), f"onnxruntime=={version}"], check=True)
    loaded = "from hotstart.ort import load_library as l; print(l().version)"
    assert python(["-c", loaded], FIRST=str(tmp_path)).stdout.strip() == version
    done = python(
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ort.py"], FIRST=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_2000_sessions_and_100000_runs_keep_no_memory() -> None:
    done = python(["-c", MEASURED])
    assert done.returncode == 0, done.stderr
    before, after = map(float, done.stdout.split())
    print(f"resident: {before:.1f} MB, after 2,000 sessions and 100,000 runs {after:.1f} MB")
    assert after - before < 5
