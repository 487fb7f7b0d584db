"""The benchmark: what it measures, and that it tells when a promise is not kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from examples.interview_bot import bench
from examples.interview_bot.bench import Measured, Scene, Timings

KEPT = Timings(0.01, 0.3, 0.3, 3.3, 3.0, 5)


def test_measures_in_fresh_processes_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "bench.json"
    scenes = [
        Scene("ready soon", "fake:dimension=384,load_seconds=0.1", 0),
        Scene("fails", "fake:dimension=384,fail_loads=99", 0),
    ]

    assert bench.main(out, scenes) == 0

    written = json.loads(out.read_text())
    assert list(written["scenes"]) == ["ready soon", "fails"]
    assert written["broken"] == []
    for scene in written["scenes"].values():
        assert 0 < scene["constructor"] < scene["greeting"]
        assert scene["greeting"] < scene["first_question"] <= scene["second_question"]
        assert scene["longest_wait"] < 6
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:2] == ["seconds", "constructor"]
    assert printed[1].startswith("ready soon")


@pytest.mark.parametrize(
    ("timings", "what"),
    [
        (KEPT._replace(constructor=1.0), "constructor took 1.00 s"),
        (KEPT._replace(second_question=6.5), "second question took 6.50 s"),
    ],
)
def test_a_promise_that_is_not_kept_is_told(
    timings: Timings,
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "_in_fresh_process", lambda scene: timings)
    out = tmp_path / "bench.json"

    assert bench.main(out, [Scene("slow", "fake:", 0)]) == 1

    assert what in capsys.readouterr().out
    assert what in json.loads(out.read_text())["broken"][0]


def test_the_table_says_from_which_question_on_there_was_context() -> None:
    never = KEPT._replace(context_from=None)
    _, with_context, without = bench.table([Measured("a", KEPT), Measured("b", never)])

    assert with_context.endswith("question 5")
    assert without.endswith("never")
