"""After fork() a child begins from `unloaded`, whatever its parent was doing."""

from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

CODE = """
import os, sys, time
from hotstart import Embedder

embedder = Embedder(strategy="background")
{before}
child = os.fork()
if child == 0:
    assert embedder.state == "unloaded", embedder.state
    vector = embedder.encode("text", timeout=30)
    assert vector.shape == (384,)
    print("child", embedder.status().loads, flush=True)
    sys.exit(0)  # through the interpreter's whole end, as a server's worker does
_, status = os.waitpid(child, 0)
assert status == 0, status
print("parent", embedder.encode("text").shape, flush=True)
"""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "embedder.wait_ready()",
        "embedder.wait_ready(); embedder.encode('text')",
        "embedder.start_loading()",
    ],
    ids=["loading", "ready", "used", "asked"],
)
@pytest.mark.filterwarnings("ignore")
def test_a_child_loads_anew_and_the_parent_goes_on(
    python: Callable[..., CompletedProcess[str]], before: str
) -> None:
    done = python("-W", "ignore", "-c", CODE.format(before=before), timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "parent (384,)"
    assert done.stdout.startswith("child ")
