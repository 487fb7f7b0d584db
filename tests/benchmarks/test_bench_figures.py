from __future__ import annotations

import json
from pathlib import Path

from benchmarks.figures import judge, tabulate
from benchmarks.first_light import Failure, Outcome
from benchmarks.peers import PEERS, REFERENCE, SUBJECT, first_vector_program, serving_program
from benchmarks.report import closing_lines, table_lines, write_json
from benchmarks.texts import BULK_TEXTS, text_sets


def outcome(seconds: float) -> Outcome:
    """Three rounds in which the subject took `seconds` and the reference 5."""
    found = Outcome()
    for _ in range(3):
        found.note("first_vector", REFERENCE, 5.0)
        found.note("first_vector", SUBJECT, seconds)
    return found


def test_a_ratio_is_how_many_times_better() -> None:
    found = outcome(0.1)
    for peer, rate in ((REFERENCE, 60.0), (SUBJECT, 90.0)):
        found.note("throughput", peer, rate)
    table = tabulate(found)
    assert table["first_vector"][SUBJECT].ratio == 50
    assert table["throughput"][SUBJECT].ratio == 1.5


def test_a_promise_is_kept_broken_or_not_measured() -> None:
    kept = [verdict.kept for verdict in judge(tabulate(outcome(0.1)))]
    assert kept == [False, True, False, False]  # the first and third are of a peer that did not run
    assert not judge(tabulate(outcome(0.3)))[1].kept
    assert judge(tabulate(Outcome()))[1].found is None


def test_the_worst_round_decides_on_the_cosine() -> None:
    found = Outcome()
    for value in (1.0, 1.0, 0.5):
        found.note("cosine_min", REFERENCE, 1.0)
        found.note("cosine_min", SUBJECT, value)
    assert judge(tabulate(found))[-1].found == 0.5


def test_a_failed_peer_is_named_with_its_error() -> None:
    found = outcome(0.1)
    found.failures.append(Failure("fastembed", "serving", "ImportError: no"))
    lines = list(closing_lines(found, judge(tabulate(found))))
    assert lines[0] == "FAILED fastembed, serving: ImportError: no"
    assert any("0.100 s (50×)" in line for line in table_lines(tabulate(found)))


def test_json_replaces_the_former_result_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    for number in range(2):
        write_json(path, {"number": number})
    assert json.loads(path.read_text()) == {"number": 1}
    assert list(path.parent.iterdir()) == [path]


def test_texts_are_many_different_and_always_the_same() -> None:
    sets = text_sets()
    assert sets == text_sets()
    assert len(set(sets["bulk"])) == BULK_TEXTS
    assert len(set(sets["latency"] + sets["warm_up"])) == 220
    assert len(sets["compared"]) == 100


def test_every_program_is_python() -> None:
    for peer in PEERS:
        compile(first_vector_program(peer), peer.name, "exec")
        compile(serving_program(peer), peer.name, "exec")
