"""The page that shows all this, and its files, which lie in the package."""

from __future__ import annotations

from importlib.resources import files

from fastapi import Response

from hotstart.server.problems import problem
from hotstart.server.routes.base import Group, Route

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


class Page(Group):
    """`/` and `/dashboard`."""

    tag = "Page"
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
            Route("/", self.index, "GET", "The page", "text/html"),
            Route("/dashboard/{name}", self.file, "GET", "A file of the page", "text/css"),
        )

    async def index(self) -> Response:
        """Answer with the page."""
        return await self.file("index.html")

    async def file(self, name: str) -> Response:
        """Answer with one of its files."""
        content = self._files.get(name)
        if content is None:
            return problem("/", 404, f"The page has no file {name!r}", "Look at /")
        kind = _TYPES[name[name.rindex(".") :]]
        return Response(content, headers=_POLICY, media_type=kind)
