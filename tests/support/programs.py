"""Programs that tests start for real, and the Debian package that has each of them."""

from __future__ import annotations

import os
import shutil

import pytest

NO_SKIP = "HOTSTART_TESTS_NO_SKIP"
"""Set in the environment, a missing program fails the test that needs it, and any skip the run."""


def require_program(program: str, package: str) -> str:
    """Return the path of `program`; skip the test, naming `package`, if it is missing."""
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is missing. Run: apt-get install {package}"
    if os.environ.get(NO_SKIP):
        pytest.fail(reason)
    pytest.skip(reason)
