"""Probes, metrics, events and the dashboard; none of them loads a model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files

import orjson
from fastapi import Response
from fastapi.responses import StreamingResponse

from hotstart.pool.aio import in_thread
from hotstart.server.events import MOST_LISTENERS
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
            Route.get("/livez", self.livez, "Liveness probe", _STATUS),
            Route.get("/readyz", self.readyz, "Readiness probe", _STATUS),
            Route.get("/startupz", self.startupz, "Startup probe", _STATUS),
            Route.get("/health", self.readyz, "Readiness, as other servers name it", _STATUS),
            Route.get("/ping", self.livez, "Liveness, as other servers name it", _STATUS),
            Route.get("/metrics", self.metrics, "Metrics for Prometheus", "text/plain"),
            Route.get("/events", self.events, "Stream events", "text/event-stream"),
        )

    async def livez(self) -> Response:
        """Return 200 while the process answers requests."""
        return _probe_response(self.service.status, True)

    async def readyz(self) -> Response:
        """Return 200 while a model is ready or loads on demand; 503 before and while draining."""
        return _probe_response(self.service.status, self.service.is_ready)

    async def startupz(self) -> Response:
        """Return 503 until the first model is ready or every load has ended; then 200."""
        return _probe_response(self.service.status, self.service.has_begun)

    async def metrics(self) -> Response:
        """Return every metric in the text format of Prometheus."""
        tasks = len(asyncio.all_tasks())
        text = await in_thread(lambda: exposition(self._metrics(tasks)))
        return Response(text, media_type=CONTENT_TYPE)

    async def events(self) -> Response:
        """Stream state changes, load progress and the overview as server-sent events."""

        if self.service.events.is_full:
            facts = f"{MOST_LISTENERS} listeners are connected"
            return problem("/events", 503, facts, "Close another page, or ask /metrics")

        async def current_overview() -> bytes:
            return orjson.dumps(await in_thread(overview, self.service))

        stream = self.service.events.stream(current_overview, self.service.timeline.under_way)
        return StreamingResponse(stream, media_type="text/event-stream")

    def _metrics(self, tasks: int) -> Iterator[Metric]:
        yield from self.service.registry.metrics()
        yield from self.service.metrics.metrics()
        memory = resident_memory()
        yield Metric("hotstart_resident_memory_bytes", "gauge", "Of this process", memory)
        yield Metric("hotstart_tasks", "gauge", "Tasks of the event loop", tasks)


def _probe_response(status: str, is_ok: bool) -> Response:
    code = 200 if is_ok else 503
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
    names_models = False

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
            Route.get("/", self.index, "The dashboard", "text/html"),
            Route.get("/dashboard/{name}", self.file, "A file of the dashboard", "text/css"),
        )

    async def index(self) -> Response:
        """Return the page of the dashboard."""
        return await self.file("index.html")

    async def file(self, name: str) -> Response:
        """Return one file of the dashboard."""
        content = self._files.get(name)
        if content is None:
            return problem("/", 404, f"The dashboard has no file {name!r}", "Open /")
        kind = _TYPES[name[name.rindex(".") :]]
        return Response(content, headers=_POLICY, media_type=kind)
