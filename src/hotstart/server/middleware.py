"""The middleware before every route: access, request size, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from hotstart.server.auth import Access, RequestFacts, brought_key, refusal
from hotstart.server.responses import problem
from hotstart.server.service import GracefulShutdown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODY_SECONDS = 30.0  # seconds within which a request must arrive completely
_SAFE = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
}
"""Headers added to every response that does not set them."""


class AccessMiddleware:
    """ASGI middleware that passes an allowed request to `app` and answers any other.

    Args:
        app: the application.
        access: access rules.
        max_body: maximal bytes of a request.
        draining: shutdown state; connections close while it drains.
    """

    def __init__(
        self, app: ASGIApp, access: Access, max_body: int, draining: GracefulShutdown
    ) -> None:
        self._app = app
        self._access = access
        self._max_body = max_body
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; pass a lifespan, reject a WebSocket."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"]
        with self._draining.under_way():
            answer = _Answer(send, self._draining)
            denied = refused(scope, self._access, path) or self._unfit(scope)
            if denied is None and scope["method"] == "POST":
                try:
                    receive = await self._with_body(receive)
                except _TooLarge:
                    denied = self._too_large(path)
                except asyncio.TimeoutError:
                    denied = _late(path)
            try:
                await (denied or self._app)(scope, receive, answer.send)
            except asyncio.CancelledError:  # the time to drain is over
                await self._end(scope, receive, answer)

    async def _end(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Answer a request that the end of the server cancelled; raise for any other."""
        if not self._draining.begun:
            raise asyncio.CancelledError
        if not answer.has_started:
            facts = "The server ended before the request was answered"
            remedy = "Send the request again, to another server or later"
            await problem(scope["path"], 503, facts, remedy)(scope, receive, answer.send)

    async def _with_body(self, receive: Receive) -> Receive:
        """Read the body within the limits; return a `receive` that replays it."""
        body = await asyncio.wait_for(_read(receive, self._max_body), _BODY_SECONDS)
        is_consumed = False

        async def again() -> Message:
            nonlocal is_consumed
            if is_consumed:
                return await receive()  # reports that the client disconnected
            is_consumed = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again

    def _unfit(self, scope: Scope) -> Response | None:
        """Return the refusal of a request that is too large or not JSON; None otherwise."""
        headers = _headers(scope)
        path = scope["path"]
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._max_body:
            return self._too_large(path)
        if scope["method"] == "POST" and not _is_json(headers):
            return problem(
                path, 415, "The request is not JSON", "Send it as Content-Type: application/json"
            )
        return None

    def _too_large(self, path: str) -> Response:
        facts = f"The request body is larger than {self._max_body} bytes"
        return problem(path, 413, facts, "Send less at a time, or raise max_body in [server]")


def refused(scope: Scope, access: Access, path: str) -> Response | None:
    """Return the refusal of a request for `path`; None if it is allowed."""
    headers = _headers(scope)
    facts = RequestFacts(
        method=scope["method"],
        path=path,
        host=_text(headers.get(b"host")),
        origin=_text(headers.get(b"origin")),
        key=brought_key(headers.items()),
    )
    why = refusal(facts, access)
    if why is None:
        return None
    return problem(path, why.status, why.facts, why.remedy)


class _TooLarge(Exception):
    """A request without a length turned out too large."""


async def _read(receive: Receive, most: int) -> bytes:
    parts = []
    size = 0
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > most:
            raise _TooLarge
    return b"".join(parts)


class _Answer:
    """Sends a response with the headers of every response."""

    def __init__(self, send: Send, draining: GracefulShutdown) -> None:
        self._send = send
        self._draining = draining
        self.has_started = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            headers = message.setdefault("headers", [])
            known = {name for name, _ in headers}
            headers += [(name, value) for name, value in _SAFE.items() if name not in known]
            if self._draining.begun:
                headers.append((b"connection", b"close"))
        await self._send(message)


def _late(path: str) -> Response:
    facts = f"The request body did not arrive within {_BODY_SECONDS:g} s"
    return problem(path, 408, facts, "Send it at once")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """Return the first header of each name, so that a second Host has no effect."""
    return dict(reversed(scope["headers"]))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _is_json(headers: dict[bytes, bytes]) -> bool:
    """Return whether the body is JSON: other sites' pages cannot send JSON without a preflight."""
    return headers.get(b"content-type", b"").split(b";")[0].strip().lower() == b"application/json"
