"""HTTP as far as the load generator needs it: requests as bytes, answers by status and length."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import cast


def encoded(port: int, path: str, body: object) -> bytes:
    """Return one request for `body` as it goes over the wire."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Answer:
    """Whether an answer is whole, of what came of it so far.

    Attributes:
        closes: whether the server says that it closes the connection after it.
    """

    def __init__(self) -> None:
        self.status = 0
        self.closes = False
        self._head = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> bool:
        """Take what came; whether nothing is left to come.

        Raises:
            ValueError: this is no HTTP answer that tells its length.
        """
        if self._left is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._left = self._length(self._head[:end].lower()) + end + 4 - len(self._head)
            return self._left <= 0
        self._left -= len(data)
        return self._left <= 0

    def _length(self, head: bytes) -> int:
        first, *lines = head.split(b"\r\n")
        self.status = int(first.split(b" ", 2)[1])
        headers = dict(line.split(b":", 1) for line in lines)
        self.closes = b"close" in headers.get(b"connection", b"")
        if b"content-length" not in headers:
            raise ValueError("an answer without a content-length")
        return int(headers[b"content-length"])


class Connection(asyncio.Protocol):
    """One connection that is kept: asks, and tells when it was answered.

    Attributes:
        due: from when the time of its request counts.
        rests_since: when it was opened, or its last request answered.
    """

    def __init__(self, ended: Callable[[Connection, str], None]) -> None:
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._error = ""
        self.due = 0.0
        self.rests_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, due: float) -> None:
        """Send `request`."""
        assert self._transport is not None
        self.due = due
        self._answer = Answer()
        self._transport.write(request)

    def close(self) -> None:
        """Close it; what is unanswered is told as lost."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open. uvloop's transports are none of asyncio's classes."""
        self._transport = cast("asyncio.Transport", transport)
        self._error = ""

    def data_received(self, data: bytes) -> None:
        """Read on; tell when the answer is whole."""
        if self._answer is None:
            return
        try:
            whole = self._answer.feed(data)
        except (ValueError, IndexError) as error:
            self._error = f"not understood: {error}"
            self.close()
            return
        if whole:
            status, closes = self._answer.status, self._answer.closes
            self._answer = None
            if closes:
                self.close()
            self._ended(self, "" if status == 200 else f"status {status}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell of the answer that will not come."""
        self._transport = None
        if self._answer is not None:
            self._answer = None
            self._ended(self, self._error or f"connection lost: {exc or 'closed by the server'}")
