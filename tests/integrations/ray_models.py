"""Models for replicas of Ray: what they did is told by themselves, since it is in their process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from hotstart.engines.fake import fake_control


def where() -> Callable[[Any], int]:
    """A model that answers which process it is in."""
    return lambda inputs: os.getpid()


def embedded() -> Callable[[str], tuple[int, dict[str, int]]]:
    """A model that answers how often its process embedded each text with the fake so named."""
    return lambda name: (os.getpid(), dict(fake_control(name).embedded))


def only_without(path: str, seconds: float) -> Callable[[Any], int]:
    """A model that cannot be loaded while there is a file at `path`."""
    time.sleep(seconds)
    if os.path.exists(path):
        raise RuntimeError("the file is there")
    return where()


class NotForThePost(Exception):
    """It cannot be made anew of what is written of it."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def raising() -> Callable[[Any], int]:
    """A model that raises what cannot be sent."""

    def ask(inputs: Any) -> int:
        raise NotForThePost("two", "arguments")

    return ask
