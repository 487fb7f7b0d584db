"""What the tests of the examples share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout() -> Path:
    """The folder that the examples are run from."""
    return ROOT


@pytest.fixture
def environment() -> dict[str, str]:
    """The environment of a program under test: unbuffered, and without anybody's bot token."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TELEGRAM_")},
        "PYTHONUNBUFFERED": "1",
    }
