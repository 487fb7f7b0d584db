"""The kernel's own word that memory is short: pressure stall information, waited for, not polled.

https://docs.kernel.org/accounting/psi.html: a trigger written to a pressure file makes the kernel
signal it whenever tasks were stalled for memory longer than that within a window.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable, Iterable

from hotstart.system import pressure_files

logger = logging.getLogger(__name__)

TRIGGER = b"some 200000 2000000\0"
"""Stalled for 0.2 of 2 s: microseconds. Without privileges the kernel takes windows of 2 s only."""


class Shortage(threading.Thread):
    """Calls `relieve` whenever the kernel says that memory is short, until it is stopped."""

    def __init__(self, descriptor: int, relieve: Callable[[], object]) -> None:
        super().__init__(name="hotstart-shortage", daemon=True)
        self._descriptor = descriptor
        self._relieve = relieve
        self._ending, self._end = os.pipe()

    def run(self) -> None:
        """Wait for the kernel's word."""
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLPRI)
        waiting.register(self._ending, select.POLLIN)
        try:
            while self._ending not in (ready := dict(waiting.poll())):
                if ready[self._descriptor] & select.POLLERR:
                    logger.warning("The kernel tells no more whether memory is short")
                    return
                self._relieve()
        finally:
            os.close(self._descriptor)
            os.close(self._ending)

    def stop(self) -> None:
        """End it and return when it has ended."""
        os.close(self._end)
        self.join()


def watch_shortage(
    relieve: Callable[[], object], files: Iterable[str] | None = None, trigger: bytes = TRIGGER
) -> Shortage | None:
    """Return a running watch on the first of `files` that takes a trigger; None where none does.

    By default on the pressure of this process's cgroup, else of the machine.
    """
    for path in pressure_files() if files is None else files:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            os.write(descriptor, trigger)
        except OSError:
            os.close(descriptor)
            continue
        watch = Shortage(descriptor, relieve)
        watch.start()
        return watch
    return None
