from __future__ import annotations

import os
from pathlib import Path

import pytest

from hotstart.resources import available_cores

AFFINITY = len(os.sched_getaffinity(0))


def cgroup(folder: Path, files: dict[str, str]) -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, AFFINITY),
        ({"cpu.max": "max 100000\n"}, AFFINITY),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, AFFINITY),
        ({"pod/me/cpu.max": "max 100000", "pod/cpu.max": "100000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, AFFINITY),
    ],
)
def test_cores_follow_affinity_and_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/pod/me\n")
    assert available_cores(cgroup(tmp_path / "cgroup", files), str(membership)) == cores


def test_this_machine_has_a_core() -> None:
    assert 1 <= available_cores() <= AFFINITY
