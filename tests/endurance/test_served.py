"""A server under load for long: reloaded every second, and asked again and again."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from server.serving import Process, serving

pytestmark = pytest.mark.slow

ADMIN = {"authorization": "Bearer admin"}
NAMED = ("--config", "hotstart.toml")  # otherwise the kind `custom` is refused
CONFIG = """
[models.minilm]
source = "all-MiniLM-L6-v2"
strategy = "background"
[models.cached]
source = "all-MiniLM-L6-v2"
strategy = "background"
cache = "memory:1MB"
[models.rows]
kind = "custom"
source = "json:JSONDecoder"
"""
RELOADED_FOR = 60.0  # seconds
SOAKED = 15_000  # requests, four a second for an hour
SETTLED_WITHIN = 60.0  # seconds until idle threads have ended
LOSES = 0.05  # of the resident set that may come on top, once it has warmed up


async def side_by_side(
    url: str, number: int, ask: Callable[[httpx.AsyncClient], Awaitable[None]]
) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(ask(client) for _ in range(number)))


def test_no_request_fails_while_models_are_reloaded_every_second(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG, *NAMED, environ={"HOTSTART_ADMIN_KEY": "admin"}) as server:
        server.wait_for("/readyz")
        wrong: list[str] = []
        answered = [0]
        end = time.monotonic() + RELOADED_FOR

        async def ask(client: httpx.AsyncClient) -> None:
            while time.monotonic() < end:
                body = {"model": "minilm", "input": f"a text {answered[0]}"}
                answer = await client.post("/v1/embeddings", json=body)
                answered[0] += 1
                if answer.status_code != 200:
                    wrong.append(answer.text)

        async def reload(client: httpx.AsyncClient) -> int:
            times = 0
            while time.monotonic() < end:
                answer = await client.post("/api/v1/models/reload", json={}, headers=ADMIN)
                told = answer.json()["models"]
                wrong.extend(str(model) for model in told.values() if "error" in model)
                times += 1
                await asyncio.sleep(1)
            return times

        async def both() -> int:
            async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as admin:
                reloads, _ = await asyncio.gather(reload(admin), side_by_side(server.url, 16, ask))
            return reloads

        reloads = asyncio.run(both())
        assert wrong == []
        assert reloads > RELOADED_FOR / 4
        assert answered[0] > 500
        assert server.end() == 0


def test_memory_tasks_and_descriptors_stay_level(tmp_path: Path) -> None:
    with serving(tmp_path, CONFIG, *NAMED) as server:
        server.wait_for("/readyz")
        _soak(server, SOAKED // 5)
        before = [_account(server) for _ in range(3)]
        most = {name: statistics.median(each[name] for each in before) + 4 for name in before[0]}
        most["rss"] = (most["rss"] - 4) * (1 + LOSES)
        _soak(server, SOAKED)
        # Idle threads end after ten seconds, and how many there are depends on the load before.
        end = time.monotonic() + SETTLED_WITHIN
        after = _account(server)
        while any(after[name] > most[name] for name in most) and time.monotonic() < end:
            after = _account(server)
        assert {name: after[name] for name in most if after[name] > most[name]} == {}, most
        assert server.end() == 0


def _soak(server: Process, requests: int) -> None:
    """Ask everything there is; some who ask go before they are answered."""
    left = [requests]

    async def ask(client: httpx.AsyncClient) -> None:
        while left[0] > 0:
            left[0] -= 1
            number = left[0]
            if number % 500 == 0:
                await _leave(server)
            elif number % 20 == 0:
                assert (await client.get("/metrics")).status_code == 200
            elif number % 7 == 0:
                body = {
                    "model": "minilm",
                    "input": [f"text {number} {place}" for place in range(4)],
                }
                assert (await client.post("/v1/embeddings", json=body)).status_code == 200
            elif number % 11 == 0:
                assert (await client.post("/embed", json={"inputs": []})).status_code == 400
            elif number % 13 == 0:
                url = "/api/v1/models/rows/predict"
                answer = await client.post(url, json={"inputs": str(number)})
                assert answer.status_code in {200, 400}
            else:
                body = {"inputs": f"text {number}", "model": "cached"}
                assert (await client.post("/embed", json=body)).status_code == 200

    asyncio.run(side_by_side(server.url, 16, ask))


async def _leave(server: Process) -> None:
    """Ask for events and for vectors, and go before they are there."""
    host, port = server.url.removeprefix("http://").split(":")
    for request in (
        b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b'content-length: 15\r\n\r\n{"inputs": "a"}',
        b"POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 100\r\n\r\n",
    ):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.close()


def _account(server: Process) -> dict[str, float]:
    """What the process holds, once what was left has been noticed."""
    time.sleep(1.5)
    status = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    told = {
        line.split(":")[0]: line.split()[1] for line in status if ":" in line and line.split()[1:]
    }
    descriptors = len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return {
        "tasks": next(
            float(line.split()[1]) for line in lines if line.startswith("hotstart_tasks ")
        ),
        "rss": float(told["VmRSS"]),
        "threads": float(told["Threads"]),
        "descriptors": float(descriptors),
    }
