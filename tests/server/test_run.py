"""`hotstart serve` as a process: alive at once, drained at its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

from hotstart import Embedder
from server.serving import Process, command, serving
from support.golden import ROOT
from support.waiting import wait_until

TEN = """
[models.minilm]
source = "all-MiniLM-L6-v2"
[models.slow-1]
source = "fake:load_seconds=2,name=slow-1"
[models.slow-2]
source = "fake:load_seconds=3,name=slow-2"
[models.failing]
source = "fake:fail_loads=99,name=failing"
""" + "".join(
    f'[models.quick-{n}]\nsource = "fake:load_seconds=0.{n},name=quick-{n}"\n' for n in range(1, 7)
)
FAKE = '[models.fake]\nsource = "fake:name=served,encode_seconds=0.05"\n'


def test_server_is_live_at_once_and_each_model_when_loaded(tmp_path: Path) -> None:
    with serving(tmp_path, TEN) as server, server.client() as client:
        server.wait_for("/livez")  # benchmarks/service.py judges the time
        ready: dict[str, float] = {}
        took: list[float] = []
        while len(ready) < 9 and time.perf_counter() - server.began < 60:
            began = time.perf_counter()
            assert client.get("/livez").status_code == 200
            took.append(time.perf_counter() - began)
            told = client.get("/api/v1/models/health").json()
            assert told["status"] in {"loading", "degraded"}
            for name, model in told["models"].items():
                if model["status"] == "ready":
                    ready.setdefault(name, time.perf_counter() - server.began)
            time.sleep(0.02)
        assert ready["slow-2"] - ready["quick-1"] > 2
        assert told["status"] == "degraded"
        assert told["models"]["failing"]["status"] == "failed"
        assert statistics.median(took) < 0.5
        assert server.end() == 0


async def _ask_until_told_to_go(url: str) -> tuple[int, list[str]]:
    """Ask over 16 connections, each of which was accepted before the end begins, until an answer
    says that its connection closes. Return how many were answered, and what was not."""
    answered, lost = 0, []
    host, port = url.removeprefix("http://").split(":")
    body = b'{"inputs": "a text"}'
    head = b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    request = head + b"content-length: %d\r\n\r\n%b" % (len(body), body)

    async def ask() -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection(host, int(port))
        while True:
            writer.write(request)
            try:
                told = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(told.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
            except (OSError, asyncio.IncompleteReadError) as error:
                lost.append(repr(error))
                return
            answered += told.startswith(b"http/1.1 200")
            if not told.startswith(b"http/1.1 200"):
                lost.append(told.decode())
            if b"connection: close" in told:
                writer.close()
                return

    await asyncio.gather(*(ask() for _ in range(16)))
    return answered, lost


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_shutdown_answers_every_accepted_request(tmp_path: Path, workers: int) -> None:
    with serving(tmp_path, FAKE, "--workers", str(workers)) as server:
        server.wait_for("/readyz")

        async def drained() -> tuple[int, list[str]]:
            load = asyncio.create_task(_ask_until_told_to_go(server.url))
            await asyncio.sleep(1)
            server.process.send_signal(signal.SIGTERM)
            return await load

        answered, lost = asyncio.run(drained())
        assert lost == []
        assert answered > 50
        assert server.process.wait(60) == 0


def test_sigint_shuts_down(tmp_path: Path) -> None:
    with serving(tmp_path, FAKE) as server:
        server.wait_for("/readyz")
        assert server.end(signal.SIGINT) in {0, 130, -2}


def workers_of(server: Process) -> set[int]:
    with server.client() as client:
        pids = set()
        for _ in range(40):
            pids.add(
                client.get("/api/v1/models/registry", headers={"connection": "close"}).json()[
                    "service"
                ]["pid"]
            )
        return pids


def shared_weights(pid: int) -> dict[str, int]:
    """How many kB of the weights' mapping a process shares with others, and holds alone."""
    told = {"Shared_Clean": 0, "Private_Dirty": 0, "Rss": 0}
    mapped = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if "-" in name and len(rest) >= 4:
            mapped = line.endswith(".safetensors")
        elif mapped and name.rstrip(":") in told:
            told[name.rstrip(":")] += int(rest[0])
    return told


def test_workers_share_mapped_weights(tmp_path: Path) -> None:
    config = '[models.minilm]\nsource = "all-MiniLM-L6-v2"\n'
    with serving(tmp_path, config, "--workers", "2") as server:
        server.wait_for("/readyz")
        deadline = time.monotonic() + 20
        while len(pids := workers_of(server)) < 2:
            assert time.monotonic() < deadline
        with server.client() as client:
            for number in range(20):
                body = {"model": "minilm", "input": f"text {number}"}
                headers = {"connection": "close"}
                assert client.post("/v1/embeddings", json=body, headers=headers).is_success
        for pid in pids:
            told = shared_weights(pid)
            assert told["Rss"] > 20_000, told
            assert told["Shared_Clean"] > 0.9 * told["Rss"], told
            assert told["Private_Dirty"] == 0, told
        assert server.end() == 0


STUCK = """
[server]
drain = 1
timeout = 60
[models.slow]
source = "fake:name=slow,encode_seconds=10"
[models.stuck]
kind = "custom"
source = "registry.models:hanging"
"""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "slow", "input": ["a"]}),
        ("/api/v1/models/stuck/predict", {"inputs": [1]}),
    ],
    ids=["slow", "stuck"],
)
def test_what_is_left_after_the_drain_is_answered_with_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    named = ("--config", "hotstart.toml")
    with serving(tmp_path, STUCK, *named) as server, server.client() as client:
        server.wait_for("/readyz")
        answers: list[Any] = []
        asking = threading.Thread(
            target=lambda: answers.append(client.post(path, json=body, timeout=60)), daemon=True
        )
        asking.start()
        wait_until(lambda: calls(client) == 1)
        assert server.end() == 0
        asking.join(60)
        assert answers[0].status_code == 503
        assert "ended before the request" in str(answers[0].json())


def calls(client: Any) -> int:
    """Count the calls that the models got, those under way included."""
    lines = client.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("hotstart_model_calls_total{")]
    return sum(int(float(line.rpartition(" ")[2])) for line in counts)


@pytest.mark.slow
def test_workers_serve_the_default_model_without_a_configuration(tmp_path: Path) -> None:
    with serving(tmp_path, "", "--workers", "2") as server, server.client() as client:
        server.wait_for("/readyz")
        answer = client.post("/v1/embeddings", json={"input": "a"}).json()
        assert answer["model"] == "all-MiniLM-L6-v2"
        assert answer["fingerprint"] == Embedder().fingerprint
        assert server.end() == 0


def test_dead_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, FAKE, "--workers", "2") as server:
        server.wait_for("/readyz")
        first = workers_of(server)
        assert server.pid not in first
        killed = first.pop()
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not (workers_of(server) - first - {killed}):
            assert time.monotonic() < deadline
        assert server.end() == 0


def test_unix_socket_is_for_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "hotstart.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))  # as a killed server leaves it
    stale.close()
    with serving(tmp_path, FAKE, "--uds", str(path)) as server:
        assert server.url == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://whatever") as client:
            assert client.get("/livez").status_code == 200
            assert client.post("/embed", json={"inputs": "a"}).status_code == 200
        second = subprocess.run(
            command("--uds", str(path)), cwd=tmp_path, capture_output=True, text=True, timeout=30
        )
        assert second.returncode == 2
        assert "no server uses" in second.stderr
        assert server.end() == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "HOTSTART_API_KEY"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
        (("--host", "192.0.2.1"), "HOTSTART_API_KEY"),
        (("--port", "99999"), "--port must be"),
        (("--workers", "0"), "--workers must be"),
        (("--index", ""), "--index must be"),
        (("--store", ""), "--store must be"),
        (("--config", "latin.toml"), "a TOML file"),
        (("--config", "odd.toml"), "must be a table"),
    ],
)
def test_invalid_configuration_is_reported_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "latin.toml").write_bytes(b'# caf\xe9\n[server]\nhost = "127.0.0.1"\n')
    (tmp_path / "odd.toml").write_text("server = 3\n")
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_used_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("--port", port), cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr


def test_invalid_model_is_reported_before_serving(
    tmp_path: Path, python: Callable[..., CompletedProcess[str]]
) -> None:
    (tmp_path / "hotstart.toml").write_text('[models.a]\nsource = "fake:"\nkin = "x"\n')
    done = python("-m", "hotstart", "serve", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "'kin'" in done.stderr


def test_serve_prints_its_own_lines_only(tmp_path: Path) -> None:
    """A warning of Python would be an error here, and one of a library a line."""
    environ = {"PYTHONWARNINGS": "error"}
    with serving(tmp_path, FAKE, environ=environ) as server, server.client() as client:
        server.wait_for("/readyz")
        assert client.get("/openapi.json").status_code == 200
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
        assert server.end() == 0
        assert server.process.stderr is not None
        lines = server.process.stderr.read().splitlines()
    own = re.compile(r"hotstart |[\d-]+ [\d:,]+ INFO hotstart: fake:.* loaded in")
    assert [line for line in lines if not own.match(line)] == []
