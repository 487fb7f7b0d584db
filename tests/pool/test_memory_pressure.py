from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hotstart.pool.memory import watch_memory_pressure

CPU = "/proc/pressure/cpu"


def test_the_kernel_calls_when_tasks_are_stalled() -> None:
    """On the pressure of the processors, which a test can make without harming the machine."""
    called = threading.Event()
    watch = watch_memory_pressure(called.set, [CPU], b"some 50000 2000000\0")
    if watch is None:
        pytest.skip(f"{CPU} takes no trigger from this process")
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * (os.cpu_count() or 1))
    ]
    try:
        assert called.wait(60)
    finally:
        for process in busy:
            process.kill()
            process.wait()
        watch.stop()
    assert not watch.is_alive()


def test_memory_has_a_file_that_takes_the_trigger() -> None:
    watch = watch_memory_pressure(lambda: None)
    if watch is None:
        pytest.skip("the kernel tells this process nothing of a shortage")
    watch.stop()
    assert not watch.is_alive()


def test_where_the_kernel_does_not_tell_there_is_no_watch(tmp_path: Path) -> None:
    readable = tmp_path / "memory.pressure"
    readable.mkdir()
    assert watch_memory_pressure(lambda: None, [str(tmp_path / "absent"), str(readable)]) is None
