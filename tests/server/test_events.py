"""Events reach whoever listens, from whatever thread they are told."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from hotstart.server import events
from hotstart.server.events import Events


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_PAUSE", 0.05)


async def overview() -> bytes:
    return b"{}"


def parsed(event: bytes) -> tuple[str, Any]:
    name, data, *rest = event.decode().split("\n")
    assert rest == ["", ""]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_stream_sends_overview_then_loads_then_events() -> None:
    async def listen() -> list[tuple[str, Any]]:
        told = Events()
        told.open()
        heard = []
        async for event in told.stream(overview, lambda: [{"model": "slow"}]):
            heard.append(parsed(event))
            if len(heard) == 2:
                threading.Thread(target=told.publish, args=("state", {"model": "m"})).start()
            if len(heard) == 4:
                break
        return heard

    assert [name for name, _ in asyncio.run(listen())] == [
        "overview",
        "progress",
        "state",
        "overview",
    ]


def test_close_ends_every_stream() -> None:
    async def listen(told: Events) -> int:
        return len([event async for event in told.stream(overview, list)])

    async def both() -> list[int]:
        told = Events()
        told.open()
        streams = [asyncio.create_task(listen(told)) for _ in range(3)]
        await asyncio.sleep(0.2)
        told.close()
        return await asyncio.wait_for(asyncio.gather(*streams), 5)

    assert all(number > 1 for number in asyncio.run(both()))


def test_slow_reader_loses_oldest_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_MOST_WAITING", 5)

    async def listen() -> list[Any]:
        told = Events()
        told.open()
        stream = told.stream(overview, list)
        await anext(stream)
        for number in range(20):
            told.publish("state", number)
        await asyncio.sleep(0.01)
        heard = [parsed(await anext(stream))[1] for _ in range(5)]
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    assert asyncio.run(listen()) == [15, 16, 17, 18, 19]


def test_tell_without_listener_or_loop_does_nothing() -> None:
    told = Events()
    told.publish("state", object())  # not even written
    told.close()
