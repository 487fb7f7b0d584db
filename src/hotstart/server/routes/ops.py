"""Probes, metrics, events and the dashboard; none of them loads a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse

from hotstart.pool.aio import in_thread
from hotstart.server.responses import problem
from hotstart.server.routes import Group, Route
from hotstart.server.status import CONTENT_TYPE, exposition, overview
from hotstart.system import resident_memory
from hotstart.telemetry import Metric

_STATUS = {"status": "healthy"}


class Health(Group):
    """The routes `/livez`, `/readyz`, `/startupz`, `/metrics`, `/events`."""

    tag = "Health"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route("/livez", self.livez, "GET", "Whether the process lives", _STATUS),
            Route("/readyz", self.readyz, "GET", "Whether anything can be answered", _STATUS),
            Route("/startupz", self.startupz, "GET", "Whether it has begun to answer", _STATUS),
            Route("/metrics", self.metrics, "GET", "Figures for Prometheus", "text/plain"),
            Route("/events", self.events, "GET", "What happens, as it does", "text/event-stream"),
        )

    async def livez(self) -> Response:
        """Answer 200 as long as anything is answered at all."""
        return _told(self.service.status, True)

    async def readyz(self) -> Response:
        """Answer 200 while a model answers, or would load if asked; 503 before, and at the end."""
        return _told(self.service.status, self.service.is_ready)

    async def startupz(self) -> Response:
        """Answer 503 until the first model answers, or all have been tried; then 200."""
        return _told(self.service.status, self.service.has_begun)

    async def metrics(self) -> Response:
        """Answer with every count and time, in Prometheus' text format."""
        tasks = len(asyncio.all_tasks())
        text = await in_thread(lambda: exposition(self._metrics(tasks)))
        return Response(text, media_type=CONTENT_TYPE)

    async def events(self) -> Response:
        """Tell of changes of state, steps of loads, and the overview, as server-sent events."""

        async def seen() -> bytes:
            return orjson.dumps(await in_thread(overview, self.service))

        stream = self.service.events.stream(seen, self.service.timeline.under_way)
        return StreamingResponse(stream, media_type="text/event-stream")

    def _metrics(self, tasks: int) -> Iterator[Metric]:
        yield from self.service.registry.metrics()
        yield from self.service.metrics.metrics()
        memory = resident_memory()
        yield Metric("hotstart_resident_memory_bytes", "gauge", "Of this process", memory)
        yield Metric("hotstart_tasks", "gauge", "Tasks of the event loop", tasks)


def _told(status: str, good: bool) -> Response:
    code = 200 if good else 503
    return Response(orjson.dumps({"status": status}), code, media_type="application/json")


_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
}


class Dashboard(Group):
    """The routes `/` and `/dashboard`."""

    tag = "Dashboard"
    counted = False

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        folder = files("hotstart.server") / "dashboard"
        self._files = {
            each.name: each.read_bytes()
            for each in folder.iterdir()
            if each.name.endswith(tuple(_TYPES))
        }

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route("/", self.index, "GET", "The dashboard", "text/html"),
            Route("/dashboard/{name}", self.file, "GET", "A file of the dashboard", "text/css"),
        )

    async def index(self) -> Response:
        """Answer with the dashboard."""
        return await self.file("index.html")

    async def file(self, name: str) -> Response:
        """Answer with one of its files."""
        content = self._files.get(name)
        if content is None:
            return problem("/", 404, f"The dashboard has no file {name!r}", "Look at /")
        kind = _TYPES[name[name.rindex(".") :]]
        return Response(content, headers=_POLICY, media_type=kind)
