"""The command, on real processes: what it prints, as JSON, and as a page."""

from __future__ import annotations

import argparse
import json
import re
import time
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hotstart.cli.profile import run
from hotstart.config import Settings
from hotstart.errors import HotstartError, InvalidInput, MissingExtra, ModelNotFound
from hotstart.profiling.profiler import Subject, profile
from hotstart.profiling.render import chart, page
from hotstart.profiling.report import Report
from hotstart.profiling.stages import Task, start
from support.golden import FAMILIES

TINY = str(FAMILIES / "bert-mean-normalize" / "model")
EXPECTED = {"interpreter", "import hotstart", "library", "metadata"}
EXPECTED |= {"import standard library", "import tokenizers", "session", "first inference"}


@pytest.fixture(scope="module")
def report(_machine: None) -> Report:
    return profile(Subject(TINY, "lazy"), runs=3)


def typed(**options: Any) -> argparse.Namespace:
    absent = {"model": TINY, "strategy": None, "against": None, "runs": 1}
    return argparse.Namespace(**(absent | {"json": False, "html": None, "quiet": False} | options))


def test_the_stages_are_those_of_a_load_and_add_up_to_the_whole(report: Report) -> None:
    names = [stage.name for stage in report.stages]
    assert set(names) >= EXPECTED
    order = ["interpreter", "import hotstart", "metadata", "session", "first inference"]
    assert sorted(order, key=names.index) == order
    assert min(stage.ms for stage in report.stages) >= 0
    total = sum(stage.ms for stage in report.stages)
    assert total == pytest.approx(report.total_ms, rel=0.25)
    assert (report.strategy, report.engine, len(report.totals_ms)) == ("lazy", "onnx", 3)
    assert {"tokenizers", "hotstart"} <= report.imports.keys()
    assert {"numpy", "onnxruntime"}.isdisjoint(report.imports)


def test_a_run_is_no_longer_than_the_process_it_was_measured_in() -> None:
    began = time.monotonic()
    done = start(Task("hotstart", TINY))
    assert 0 < done.total <= time.monotonic() - began
    assert sum(done.intervals.values()) == pytest.approx(done.total)
    assert min(done.intervals.values()) >= 0


def test_the_terminal_shows_every_stage_within_its_width(report: Report) -> None:
    for width in (56, 80, 120):
        text = chart(report, width)
        long = [line for line in text.splitlines() if len(line) > width]
        assert all(TINY in line and line.count(" ") < 4 for line in long)
        bars = [line for line in text.splitlines() if re.search(r" ms +\d+% ", line)]
        assert len(bars) == len(report.stages)
        assert max(map(len, bars)) <= width
    assert f"First vector in {report.total_ms:.1f} ms" in text


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_holds_every_stage(report: Report) -> None:
    text = page(report._replace(model="<b>&model"))
    parsed = _Page()
    parsed.feed(text)
    assert parsed.links == []
    assert not re.search(r"https?://|@import|url\(|<script|<b>", text)
    assert {"table", "th", "main", "h1"} <= parsed.tags
    for stage in report.stages:
        assert f"{stage.name}" in parsed.text
        assert f"{stage.ms:.1f} ms" in parsed.text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_command_prints_json_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    assert run(typed(json=True, html=str(path), strategy="progressive", runs=2)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == {*Report._fields, "format", "imports"}
    assert (found["format"], found["strategy"], found["runs"]) == (1, "progressive", 2)
    assert {"name", "kind", "start_ms", "ms"} == found["stages"][0].keys()
    assert {stage["kind"] for stage in found["stages"]} == {
        "interpreter",
        "import",
        "load",
        "inference",
    }
    assert "full" in found["beside"]
    assert found["against"] is None
    assert path.read_text().startswith("<!doctype html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_never_prepared_is_said_to_be_so(
    fresh: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(typed()) == 0
    assert f"hotstart models prepare {TINY}" in " ".join(capsys.readouterr().out.split())


def test_missing_bytecode_is_found_and_what_it_costs_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))  # empty: nothing is compiled
    said = {advice.name: advice for advice in profile(Subject(TINY, "lazy"), runs=1).advice}
    assert "compileall" in said["bytecode"].remedy
    assert (said["bytecode"].saves_ms or 0) > 50


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"strategy": "nonsense"}, InvalidInput),
        ({"runs": 0}, InvalidInput),
        ({"against": "fastembed"}, InvalidInput),
        ({"html": "/no/such/folder/page.html"}, InvalidInput),
        ({"model": "nobody/nothing"}, ModelNotFound),
    ],
)
def test_misuse_is_told_before_anything_is_measured(
    options: dict[str, Any], error: type[HotstartError]
) -> None:
    with pytest.raises(error):
        run(typed(**options))


def test_a_failure_within_the_process_comes_with_its_reason(fresh: Settings) -> None:
    with pytest.raises(HotstartError, match=r"is not prepared: .* hotstart models prepare"):
        profile(Subject(TINY, "cached"), runs=1)


@pytest.mark.skipif(find_spec("sentence_transformers") is not None, reason="it is installed")
def test_a_library_to_compare_with_that_is_absent_is_named() -> None:
    with pytest.raises(MissingExtra, match=r"sentence-transformers is not installed.*pip install"):
        run(typed(against="sentence-transformers"))


@pytest.mark.parity
def test_against_sentence_transformers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(typed(against="sentence-transformers")) == 0
    out = capsys.readouterr().out
    assert re.search(r"sentence-transformers: \d+ ms, [\d.]+ times as long", out)
