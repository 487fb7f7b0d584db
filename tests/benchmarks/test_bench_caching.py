from __future__ import annotations

from benchmarks.caching import FIGURES, FILE, LANGCHAIN, MEMORY, PEERS, REDIS, judge, program
from benchmarks.caching import ROUND_TRIP as TRIP
from benchmarks.figures import tabulate
from benchmarks.first_light import Outcome


def verdicts(file_seconds: float, redis_seconds: float) -> list[bool | None]:
    outcome = Outcome()
    seconds = {LANGCHAIN: 30e-6, MEMORY: 1e-6, FILE: file_seconds, REDIS: redis_seconds}
    for figure in ("one", "hundred"):
        for peer, value in seconds.items():
            outcome.note(figure, peer, value)
    outcome.note("round_trip", REDIS, 50e-6)
    table = tabulate(outcome, (*FIGURES, TRIP), beside=LANGCHAIN)
    return [verdict.kept for verdict in judge(table)]


def test_each_promise_is_kept_or_broken_by_its_own_figures() -> None:
    assert verdicts(9e-6, 1e-3) == [True, True, True, True, True]
    assert verdicts(11e-6, 1e-3) == [True, True, False, False, True]
    assert verdicts(9e-6, 3e-3) == [True, True, True, True, False]


def test_what_was_not_measured_is_no_promise_kept() -> None:
    assert [v.kept for v in judge(tabulate(Outcome(), (*FIGURES, TRIP)))] == [False] * 5


def test_each_program_is_python() -> None:
    for peer in PEERS:
        compile(program(peer, 6379), peer.name, "exec")
