from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from benchmarks.peers import Peer

from benchmarks import registry


@pytest.mark.parametrize("peer", registry.PEERS[1:], ids=lambda peer: peer.name)
def test_each_program_runs_and_tells_its_figures(
    python: Callable[..., CompletedProcess[str]], peer: Peer
) -> None:
    done = python("-c", registry.program(peer))
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert {"first", "ten", "get"} <= told.keys()
    assert ("listing" in told) == (peer.name == registry.HOTSTART)
    assert 1.5 <= told["ten"] < 3.0
    assert 0.1 <= told["first"] < 1.5
