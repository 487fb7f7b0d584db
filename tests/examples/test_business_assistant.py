"""The business assistant: asked at once, of real models, and with libraries really absent."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from examples.business_assistant import make_data, verify
from examples.business_assistant.assistant import Assistant

from support.golden import ROOT

pytestmark = [  # Prophet's own use of pandas
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'convert_dates' keyword:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything the script makes, in a process of its own: fitting is loud."""
    folder = tmp_path_factory.mktemp("business")
    command = [sys.executable, "-m", "examples.business_assistant.make_data", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture
def assistant(data: Path) -> Iterator[Assistant]:
    made = Assistant(data)
    with made.registry:
        yield made


def test_the_script_makes_the_same_world_each_time(data: Path, tmp_path: Path) -> None:
    names = {path.name for path in data.iterdir()}
    assert names >= {"market.jsonl", "churn.csv", "sales.csv", "churn-1.skops", "sales.json"}
    random = np.random.default_rng(7)
    customers, left = make_data.churn_table(random)
    assert customers.shape == (600, len(make_data.CHURN_COLUMNS))
    assert 0.1 < left.mean() < 0.6
    first = (data / "churn.csv").read_text().splitlines()[1].split(",")
    assert [float(value) for value in first[:-1]] == customers[0].tolist()


def test_each_question_is_answered_and_says_by_whom(assistant: Assistant) -> None:
    assistant.registry.load_all()
    said = {topic: asyncio.run(assistant.ask(topic)) for topic in assistant.questions}
    assert said["mood"].startswith("20 of 40 market texts are positive (mood.fallback 1")
    assert "most at risk: customer" in said["churn"]
    assert "(churn v" in said["churn"]
    assert "will be sold from 2025-12-31 on" in said["sales"]
    assert "(sales 1" in said["sales"]
    assert asyncio.run(assistant.ask("weather")) == "Ask me about one of: mood, churn, sales."


def test_every_check_holds_here_but_for_those_of_time(data: Path) -> None:
    """Seconds are for a quiet machine, and for whoever runs verify there."""
    checks = list(verify.check(data))
    timed = ("first request", "loaded", "get_model")
    assert [c for c in checks if not c.held and not c.name.startswith(timed)] == []
    assert len(checks) >= 12


def test_while_models_load_the_simple_ones_answer_in_the_same_shape(data: Path) -> None:
    with Assistant(data).registry as registry:
        rows = [[3.0, 80.0, 5.0, 1.0, 0.0], [60.0, 20.0, 0.0, 9.0, 1.0]]
        risks = registry.predict("churn_rule", rows).output
        assert risks[0][1] > risks[1][1]
        assert all(sum(row) == pytest.approx(1) for row in risks)
        simple = registry.predict("sales_mean", {"periods": 7, "freq": "D"}).output
        better = registry.predict("sales", {"periods": 7, "freq": "D"}).output
    assert [day["ds"][:10] for day in simple] == [day["ds"][:10] for day in better]
    assert simple[0].keys() == better[0].keys()
    for one, other in zip(simple, better, strict=True):
        assert one["yhat"] == pytest.approx(other["yhat"], rel=0.2)


def test_it_converses_on_a_terminal(data: Path) -> None:
    command = [sys.executable, "-m", "examples.business_assistant.assistant", "--data", str(data)]
    done = subprocess.run(
        command, cwd=ROOT, input="sales\nchurn\n\n", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "will be sold" in done.stdout
    assert "most at risk" in done.stdout
    assert done.stderr == ""


def test_without_data_it_says_what_to_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.business_assistant.assistant"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "run make_data first" in done.stderr


@pytest.mark.slow
def test_in_environments_that_really_lack_a_library_the_fallbacks_answer(data: Path) -> None:
    command = [sys.executable, "-m", "examples.business_assistant.verify", "--environments"]
    done = subprocess.run(
        [*command, "--data", str(data)], cwd=ROOT, capture_output=True, text=True, timeout=900
    )
    assert done.stdout.count("Environment:") == 4, done.stderr
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    timed = ("FAIL first request", "FAIL loaded", "FAIL get_model")
    assert [line for line in failed if not line.startswith(timed)] == []
    assert done.stdout.count("sklearn is not installed") >= 2
    assert done.stdout.count("pip install 'hotstart[sentiment]'") >= 2


def test_this_environment_has_all_but_transformers() -> None:
    """What the tests above take for granted."""
    there = {name for name in ("sklearn", "skops", "prophet", "textblob") if verify.installed(name)}
    assert there == {"sklearn", "skops", "prophet", "textblob"}
    assert importlib.util.find_spec("transformers") is None
