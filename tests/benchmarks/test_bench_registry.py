from __future__ import annotations

import json
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from benchmarks.figures import tabulate
from benchmarks.first_light import Outcome
from benchmarks.peers import Peer

from benchmarks import registry


@pytest.mark.slow
@pytest.mark.parametrize("peer", registry.PEERS, ids=lambda peer: peer.name)
def test_each_program_runs_and_tells_its_figures(
    python: Callable[..., CompletedProcess[str]], peer: Peer
) -> None:
    done = python("-c", registry.program(peer))
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert {"first", "ten", "get"} <= told.keys()
    assert ("listing" in told) == (peer.name == registry.HOTSTART)
    assert 1.5 <= told["ten"] < 5.0
    assert 0.1 <= told["first"] < 1.5


def test_a_promise_is_judged_by_what_was_measured() -> None:
    outcome = Outcome()
    for figure, seconds in {"ten": 1.6, "first": 0.1, "get": 2e-6, "listing": 5e-3}.items():
        outcome.note(figure, registry.HOTSTART, seconds)
    outcome.note("ten", registry.SEQUENCE, 3.2)
    shown = (*registry.FIGURES, registry.LISTING)
    verdicts = registry.judge(tabulate(outcome, shown, beside=registry.SEQUENCE))
    assert [verdict.kept for verdict in verdicts] == [True, False, True]
