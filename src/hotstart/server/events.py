"""Server-sent events and the timeline of loads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NamedTuple

import orjson

from hotstart.registry.events import LoadStep, StateChange


class LoadStage(NamedTuple):
    """A stage of a load, in seconds since the load began; `end` is None while it runs."""

    version: str
    stage: str
    start: float
    end: float | None


class Timeline:
    """Records the loads of a registry. One thread writes, any thread reads."""

    def __init__(self) -> None:
        self._began: dict[tuple[str, str], float] = {}
        self._stages: dict[tuple[str, str], tuple[LoadStage, ...]] = {}

    def step(self, step: LoadStep) -> float:
        """Record a step of a load; return the seconds since the load began."""
        key = (step.name, step.version)
        at = step.at - self._began.setdefault(key, step.at)
        stages = self._stages.get(key, ())
        if not stages or stages[-1].stage != step.stage or stages[-1].end is not None:
            self._stages[key] = (*_ended(stages, at), LoadStage(step.version, step.stage, at, None))
        return at

    def change(self, change: StateChange) -> None:
        """Record the begin or the end of a load."""
        key = (change.name, change.version)
        if change.status == "loading":
            self._began[key] = change.at
            self._stages[key] = ()
        elif key in self._began:
            self._stages[key] = _ended(self._stages.get(key, ()), change.at - self._began[key])

    def under_way(self) -> list[dict[str, Any]]:
        """Return the running loads as progress events of unknown fraction."""
        now = time.time()
        return [
            {
                "model": name,
                "version": version,
                "stage": stages[-1].stage,
                "fraction": None,
                "elapsed": now - self._began[name, version],
            }
            for (name, version), stages in list(self._stages.items())
            if stages and stages[-1].end is None
        ]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the stages of every version of the model `name`."""
        kept = list(self._stages.items())
        return [stage._asdict() for key, stages in kept if key[0] == name for stage in stages]


def _ended(stages: tuple[LoadStage, ...], at: float) -> tuple[LoadStage, ...]:
    if not stages or stages[-1].end is not None:
        return stages
    return (*stages[:-1], stages[-1]._replace(end=at))


MOST_LISTENERS = 50
"""Listeners of one process; each gets an overview a second."""

_MOST_WAITING = 1000  # events queued for a slow reader
_PAUSE = 1.0  # seconds between two overviews

_END = b""


class Events:
    """Sends server-sent events to every listener.

    Any thread may call `publish`; the other methods belong to the event loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._closed = False

    def open(self) -> None:
        """Accept events from now on, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._closed = False

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._send(_END)

    def publish(self, event: str, data: Any) -> None:
        """Send to every listener."""
        loop = self._loop
        if loop is not None and not loop.is_closed() and self._queues:
            loop.call_soon_threadsafe(self._send, encode_event(event, data))

    @property
    def is_full(self) -> bool:
        """Whether there are as many listeners as the server can serve beside its requests."""
        return len(self._queues) >= MOST_LISTENERS

    async def stream(
        self, overview: Callable[[], Awaitable[bytes]], under_way: Callable[[], Iterable[Any]]
    ) -> AsyncIterator[bytes]:
        """Yield events as they come, and an overview each second, which keeps the connection alive.

        Args:
            overview: returns the overview as JSON.
            under_way: returns the progress events of running loads.
        """
        queue: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self._queues.add(queue)
        try:
            yield encode_json_event("overview", await overview())
            for progress in under_way():
                yield encode_event("progress", progress)
            while not self._closed:
                async for event in _within(queue, _PAUSE):
                    if event == _END:
                        return
                    yield event
                yield encode_json_event("overview", await overview())
        finally:
            self._queues.discard(queue)

    def _send(self, event: bytes) -> None:
        for queue in self._queues:
            if queue.full():  # a slow reader waits for the next overview
                queue.get_nowait()
            queue.put_nowait(event)


def encode_event(event: str, data: Any) -> bytes:
    """Return an event in the format of server-sent events."""
    return encode_json_event(event, orjson.dumps(data))


def encode_json_event(event: str, data: bytes) -> bytes:
    """Return an event whose data is encoded JSON of one line."""
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"


async def _within(queue: asyncio.Queue[bytes], seconds: float) -> AsyncIterator[bytes]:
    """Yield the events of the next `seconds` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while (left := end - loop.time()) > 0:
        try:
            yield await asyncio.wait_for(queue.get(), left)
        except asyncio.TimeoutError:
            return
