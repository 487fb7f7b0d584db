"""The end of a server: what was accepted is answered, and whoever keeps a connection is told."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_QUIET = 0.25  # seconds without a request after which nobody is taken by surprise
_LONGEST = 3.0  # seconds that new requests are taken though they go on coming

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Draining:
    """Between the signal and the end of listening requests are still answered, and each answer
    says that its connection closes: a client that keeps connections would else send its next
    request into one that is being closed, and get no answer.

    Attributes:
        begun: whether the end has begun.
    """

    def __init__(self) -> None:
        self.begun = False
        self._under_way = 0
        self._last = time.monotonic()
        self._hearers: list[Callable[[], None]] = []

    def listen(self, begins: Callable[[], None]) -> None:
        """Have `begins` called, in the event loop, when the end begins."""
        self._hearers.append(begins)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have the block count as a request."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._last = time.monotonic()

    def open(self) -> None:
        """Take requests, again if need be."""
        self.begun = False

    def begin(self) -> None:
        """Tell everybody; called in the event loop."""
        if not self.begun:
            self.begun = True
            for begins in self._hearers:
                begins()

    def on_signals(self) -> None:
        """Have the signals that end the process drain it first, then do what they did before.

        A second signal does that at once.
        """
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}

        def handle(number: int, frame: FrameType | None) -> None:
            for each, handler in before.items():
                signal.signal(each, handler)
            loop.call_soon_threadsafe(self._drain, loop, before[signal.Signals(number)], number)

        for number in _SIGNALS:
            signal.signal(number, handle)

    def _drain(self, loop: asyncio.AbstractEventLoop, end: Any, number: int) -> None:
        self.begin()
        latest = time.monotonic() + _LONGEST

        def look() -> None:
            idle = time.monotonic() - self._last if not self._under_way else 0.0
            if idle >= _QUIET or time.monotonic() >= latest:
                if callable(end):
                    end(number, None)
            else:
                loop.call_later(_QUIET - idle, look)

        loop.call_later(_QUIET, look)
