from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hotstart.system import (
    MemoryLeft,
    ResourceProfile,
    available_cores,
    devices,
    memory_left,
    memory_limit,
    python_command,
    recommend,
)

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
        ({"cpu/old/cpu.cfs_quota_us": "100000", "cpu/old/cpu.cfs_period_us": "100000"}, 1),
    ],
)
def test_cores_follow_affinity_and_quota(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/old\n3:cpu,cpuacct:/old\n0::/pod/me\n")
    assert available_cores(cgroup(tmp_path / "cgroup", files), str(membership)) == cores


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "max", "memory.current": "5"}, None),
        ({"memory.max": "1000", "memory.current": "400"}, 600),
        ({"memory.max": "1000", "memory.current": "900", "memory.stat": "inactive_file 700"}, 800),
        (
            {
                "pod/me/memory.max": "1000",
                "pod/me/memory.current": "100",
                "pod/memory.max": "500",
                "pod/memory.current": "200",
            },
            300,
        ),
        (
            {
                "memory/old/memory.limit_in_bytes": "1000",
                "memory/old/memory.usage_in_bytes": "900",
                "memory/old/memory.stat": "inactive_file 9 total_inactive_file 600",
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/memory.usage_in_bytes": "5",
            },
            700,
        ),
    ],
)
def test_memory_is_what_the_tightest_cgroup_leaves(
    tmp_path: Path, files: dict[str, str], left: int | None
) -> None:
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/old\n3:cpu,cpuacct:/old\n0::/pod/me\n")
    found = memory_left(cgroup(tmp_path / "cgroup", files), str(membership))
    if left is None:
        assert found.limit != "its cgroup"
    else:
        assert found == (left, "its cgroup")


@pytest.mark.parametrize(
    ("cores", "gigabytes", "flags", "devices", "expected"),
    [
        (8, 16.0, {"avx2"}, ("cpu",), ("cpu", "onnx", "progressive")),
        (8, 16.0, {"amx_bf16"}, ("cpu",), ("cpu", "openvino", "progressive")),
        (8, 16.0, {"amx_bf16"}, ("cpu", "cuda"), ("cuda", "torch", "progressive")),
        (1, 16.0, set(), ("cpu",), ("cpu", "onnx", "background")),
        (8, 0.8, set(), ("cpu",), ("cpu", "onnx", "quantized")),
    ],
)
def test_what_is_recommended(
    cores: int, gigabytes: float, flags: set[str], devices: tuple[str, ...], expected: object
) -> None:
    left = MemoryLeft(int(gigabytes * 1e9), "the machine")
    profile = recommend(cores, left, frozenset(flags), devices)
    assert (profile.device, profile.engine, profile.strategy) == expected
    assert profile.why


def test_a_model_too_large_for_the_memory_is_quantized() -> None:
    left = MemoryLeft(4_000_000_000, "its cgroup")
    small = recommend(2, left, frozenset(), ("cpu",), 1_900_000_000)
    large = recommend(2, left, frozenset(), ("cpu",), 2_400_000_000)
    assert (small.strategy, large.strategy) == ("progressive", "quantized")
    assert large.why == (
        "its cgroup leaves 4000 MB, the weights take 2400 MB in float32, and a packed copy"
    )


def test_devices_are_known_by_the_traces_of_their_drivers(tmp_path: Path) -> None:
    assert devices(str(tmp_path)) == ("cpu",)
    (tmp_path / "nvidiactl").touch()
    assert devices(str(tmp_path)) == ("cpu", "cuda")


def test_this_machine_has_a_profile() -> None:
    profile = ResourceProfile.detect()
    assert profile.cores >= 1
    assert profile.memory > 0
    assert "cpu" in profile.devices


def test_this_machine_has_a_core() -> None:
    assert 1 <= available_cores() <= AFFINITY


def test_memory_limit_is_the_size_of_the_tightest_limit(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/pod/me\n")
    files = {
        "pod/me/memory.max": "1000",
        "pod/me/memory.current": "400",
        "pod/me/memory.stat": "inactive_file 0",
    }
    root = cgroup(tmp_path / "cgroup", files)
    assert memory_limit(root, str(membership)) == 1000
    assert memory_left(root, str(membership)) == (600, "its cgroup")


@pytest.mark.parametrize("options", [(), ("-X", "importtime")])
def test_a_child_imports_nothing_from_the_current_folder(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("numpy", "json", "hotstart", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('code of the current folder ran')")
    program = (
        "from __future__ import annotations\n"
        "import sys, json, numpy, hotstart.system\n"
        "print(sys.argv[1:], 'lines' if __name__ == '__main__' else '')"
    )
    command = python_command(program, "a", "b c", options=options)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "['a', 'b c'] lines\n", done.stderr
