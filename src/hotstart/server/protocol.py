"""The HTTP protocol of one connection: uvicorn's, with bounds of size and time.

httptools bounds neither the head of a request nor the time it takes, and a transport keeps what a
client does not read. A connection that does not send a whole head in time is closed; one that reads
nothing of its answer is too.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hotstart.pool.workers import workers
from hotstart.system import return_freed_memory

LARGEST_HEAD = 65_536
"""Bytes of a request line and its headers, as in h11."""

_HEAD_SECONDS = 30.0  # from the first byte, or the connection, to the end of the headers
_LAST_SECONDS = 0.2  # for the request of a connection that was accepted at the very end
_PIECE = 16_384
_LOOK_SECONDS = 5.0
_TRIM_SECONDS = 1.0
_UNREAD_SECONDS = 30.0  # without a byte that the client took

unread: set[BoundedProtocol] = set()
"""The connections whose clients do not read as fast as they are answered."""


def unread_bytes() -> int:
    """Return the bytes of answers that wait for their clients to read."""
    return sum(protocol.transport.get_write_buffer_size() for protocol in unread)


_trimming: set[asyncio.TimerHandle] = set()


def trim_soon() -> None:
    """Give the memory of large bodies and answers back to the system, in a second.

    Connections are cycles of references, and the allocator keeps what they free.
    """
    loop = asyncio.get_running_loop()
    if all(timer.when() < loop.time() - _TRIM_SECONDS for timer in _trimming):  # of an ended loop
        _trimming.clear()
        _trimming.add(loop.call_later(_TRIM_SECONDS, _trim))


def _trim() -> None:
    _trimming.clear()
    gc.collect()
    loop = asyncio.get_running_loop()
    loop.run_in_executor(workers.get(waits=False), return_freed_memory)


class BoundedProtocol(HttpToolsProtocol):
    """A connection."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._end_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self in unread:
            unread.discard(self)
            trim_soon()
        for timer in (self._head_timer, self._look_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse `data`; refuse a head that is too large."""
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEAD_SECONDS, self._end_late)
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            if self.transport.is_closing():
                return
            super().data_received(piece)
            self._head_bytes = self._head_bytes + len(piece) if self._in_head else 0
            if self._head_bytes > LARGEST_HEAD:
                self._refuse_head()

    def on_headers_complete(self) -> None:
        """Start the request; its head is complete."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End the request's body; the next head may follow."""
        super().on_message_complete()
        self._in_head = True
        self._head_bytes = 0

    def shutdown(self) -> None:
        """End the connection; one that was just accepted may still send its request."""
        if self.cycle is None and not self.transport.is_closing():
            self.loop.call_later(_LAST_SECONDS, self._end_unless_asked)
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Begin to watch whether the client reads."""
        super().pause_writing()
        unread.add(self)
        self._look(self.transport.get_write_buffer_size(), 0.0)

    def resume_writing(self) -> None:
        """Stop watching: the client has read."""
        super().resume_writing()
        unread.discard(self)
        if self._look_timer is not None:
            self._look_timer.cancel()

    def _look(self, before: int, waited: float) -> None:
        """End the connection if the client takes nothing for _UNREAD_SECONDS."""
        left = self.transport.get_write_buffer_size()
        waited = waited + _LOOK_SECONDS if left >= before else 0.0
        if waited > _UNREAD_SECONDS:
            self.logger.info("A client that does not read its answer is disconnected")
            self.transport.abort()
        else:
            self._look_timer = self.loop.call_later(_LOOK_SECONDS, self._look, left, waited)

    def _end_unless_asked(self) -> None:
        if self.cycle is None:
            self.transport.close()
        else:
            super().shutdown()

    def _end_late(self) -> None:
        """Close a connection that did not send a whole head."""
        self._head_timer = None
        if not self.transport.is_closing() and self._in_head:
            self.transport.close()

    def _refuse_head(self) -> None:
        text = f"The request line and its headers are larger than {LARGEST_HEAD} bytes".encode()
        head = [
            STATUS_LINE[431],
            b"content-type: text/plain; charset=utf-8\r\n",
            b"content-length: %d\r\n" % len(text),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*head, text]))
        self.transport.close()
