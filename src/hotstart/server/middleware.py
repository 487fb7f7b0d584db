"""The middleware before every route: access, request size, shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from hotstart.server.auth import Access, RequestFacts, brought_key, refusal
from hotstart.server.protocol import trim_soon, unread, unread_bytes
from hotstart.server.responses import problem
from hotstart.server.service import GracefulShutdown

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODY_SECONDS = 30.0  # seconds within which a request must arrive completely
_LARGE = 1_000_000  # bytes of a body
_MOST_HELD = 256_000_000  # bytes of all bodies under way, and of all answers that nobody reads
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
        self._held = 0  # bytes of the bodies that requests hold

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; pass a lifespan, reject a WebSocket."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"]
        body = _Body(self._max_body)
        with self._draining.under_way():
            answer = _Answer(scope, send, self._draining)
            denied = refused(scope, self._access, path) or self._unfit(scope)
            try:
                if denied is None and scope["method"] == "POST":
                    receive, denied = await self._with_body(path, body, receive)
                # A GET whose body is left out answers HEAD.
                asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
                await (denied or self._app)(asked, receive, answer.send)
            except asyncio.CancelledError:  # the time to drain is over
                await self._end(scope, receive, answer)
            finally:
                self._held -= body.size
                if body.size > _LARGE:
                    trim_soon()

    async def _end(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        """Answer a request that the end of the server cancelled; raise for any other."""
        if not self._draining.begun:
            raise asyncio.CancelledError
        if not answer.has_started:
            facts = "The server ended before the request was answered"
            remedy = "Send the request again, to another server or later"
            await problem(scope["path"], 503, facts, remedy)(scope, receive, answer.send)

    async def _with_body(
        self, path: str, body: _Body, receive: Receive
    ) -> tuple[Receive, Response | None]:
        """Read the body within the limits; return a `receive` that replays it, or a refusal."""
        try:
            content = await asyncio.wait_for(self._read(body, receive), _BODY_SECONDS)
        except _TooLarge:
            return receive, self._too_large(path)
        except _Gone:
            return receive, problem(path, 400, "The client disconnected", "")
        except _TooMuch:
            facts = f"The server holds {_MOST_HELD} bytes of other requests"
            return receive, problem(path, 503, facts, "Send the request again")
        except asyncio.TimeoutError:
            return receive, _late(path)
        is_consumed = False

        async def again() -> Message:
            nonlocal is_consumed
            if is_consumed:
                return await receive()  # reports that the client disconnected
            is_consumed = True
            return {"type": "http.request", "body": content, "more_body": False}

        return again, None

    async def _read(self, body: _Body, receive: Receive) -> bytes:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            body.add(part)
            self._held += len(part)
            more = message.get("more_body", False)
            if self._held > _MOST_HELD:
                raise _TooMuch
        return b"".join(body.parts)

    def _unfit(self, scope: Scope) -> Response | None:
        """Return the refusal of a request that is too large or not JSON; None otherwise."""
        headers = _headers(scope)
        path = scope["path"]
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._max_body:
            return self._too_large(path)
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in {b"", b"identity"}:
            facts = f"The request body has the encoding {encoding.decode('latin-1')!r}"
            return problem(path, 415, facts, "Send it without Content-Encoding")
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
    unknown = "unknown_url" if why.status in {404, 405} else None
    response = problem(path, why.status, why.facts, why.remedy, code=unknown)
    if why.allow:
        response.headers["allow"] = why.allow
    return response


class _TooLarge(Exception):
    """A request without a length turned out too large."""


class _Gone(Exception):
    """The client disconnected before its body was whole."""


class _TooMuch(Exception):
    """All requests together hold too many bytes."""


class _Body:
    """The parts of one body as they come, at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.parts.append(part)
        self.size += len(part)
        if self.size > self._most:
            self.size -= len(part)
            raise _TooLarge


class _Answer:
    """Sends a response with the headers of every response."""

    def __init__(self, scope: Scope, send: Send, draining: GracefulShutdown) -> None:
        self._scope = scope
        self._send = send
        self._draining = draining
        self._is_withheld = False
        self._has_ended = False
        self.has_started = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if self._is_withheld or self._has_ended:
            return
        if message["type"] == "http.response.start":
            self.has_started = True
            if unread and self._scope["method"] == "POST" and unread_bytes() > _MOST_HELD:
                self._is_withheld = True
                facts = f"{_MOST_HELD} bytes of answers wait for clients that do not read them"
                withheld = problem(self._scope["path"], 503, facts, "Send the request again")
                await withheld(self._scope, _no_more, self._send)
                return
            headers = message.setdefault("headers", [])
            known = {name for name, _ in headers}
            headers += [(name, value) for name, value in _SAFE.items() if name not in known]
            if self._draining.begun:
                headers.append((b"connection", b"close"))
        elif self._scope["method"] == "HEAD":
            message = {"type": "http.response.body"}
            self._has_ended = True
        await self._send(message)


async def _no_more() -> Message:
    return {"type": "http.disconnect"}


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
