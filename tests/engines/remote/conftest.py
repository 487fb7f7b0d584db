from __future__ import annotations

from collections.abc import Iterator

import pytest

from engines.remote.stand_in import StandIn


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A real HTTP server whose answers are scripted."""
    server = StandIn()
    yield server
    server.stop()
