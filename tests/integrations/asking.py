"""What the adapters' tests have in common."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from hotstart.engines.fake import FakeControl, fake_control

NEAR = 1e-5

FAKE = "fake:"
REMOTE = "tei:http://user:secret@host"


class Fake(NamedTuple):
    """A fake model that nobody else has: what names it, and what it did."""

    name: str

    @property
    def source(self) -> str:
        return f"fake:name={self.name}"

    @property
    def hanging(self) -> str:
        """It loads only when it is released."""
        return f"fake:name={self.name},hang_load=true"

    @property
    def did(self) -> FakeControl:
        return fake_control(self.name)

    def answer_of_a_running_loop(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return what `ask` returns of the model `hanging`, released by the loop that awaits it."""

        async def main() -> Any:
            asked = asyncio.ensure_future(ask())
            for _ in range(10):
                await asyncio.sleep(0)
            assert rescue.is_alive(), "the loop was held up until the model was ready"
            self.did.release()
            return await asked

        rescue = threading.Timer(5, self.did.release)
        rescue.start()
        try:
            return asyncio.run(main())
        finally:
            rescue.cancel()
