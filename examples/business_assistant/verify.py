"""Checks the assistant, with figures: what each model answers, how soon, and what stands in for it.

    python -m examples.business_assistant.verify [--data FOLDER] [--environments]

With --environments it does so again in fresh virtual environments, in each of which a library is
really absent. The exit status is 0 where every check held.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from examples.business_assistant import make_data
from examples.business_assistant.assistant import Assistant
from hotstart import HotstartError

ROOT = Path(__file__).parent.parent.parent
FIRST, CACHED = 2.0, 0.1
"""Bounds, in seconds: of a first request in a fresh process, and of one to a loaded model."""

LIBRARIES = {"mood": "transformers", "churn": "sklearn", "sales": "prophet"}
STAND_INS = {"mood": "textblob", "churn": None, "sales": None}
"""What a model needs, and what its fallback does."""

_FIRST = """\
import asyncio, pathlib, sys, time
from examples.business_assistant.assistant import Assistant
began = time.perf_counter()
print(asyncio.run(Assistant(pathlib.Path(sys.argv[1])).ask(sys.argv[2])))
print(time.perf_counter() - began)
"""
_EXTRAS = {
    "nothing but hotstart": [],
    "all but sklearn": ["prophet", "textblob"],
    "all but prophet": ["sklearn", "textblob"],
    "all but textblob": ["sklearn", "prophet"],
}


class Check(NamedTuple):
    """What was looked at, whether it held, and what was seen."""

    name: str
    held: bool
    seen: str


def main() -> int:
    """Check, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=make_data.FOLDER)
    parser.add_argument("--environments", action="store_true")
    arguments = parser.parse_args()
    if not (arguments.data / "hotstart.toml").exists():
        make_data.main(arguments.data)
    held = report(check(arguments.data))
    if arguments.environments:
        for name, extras in _EXTRAS.items():
            held &= check_environment(name, extras, arguments.data)
    return 0 if held else 1


def report(checks: Iterator[Check]) -> bool:
    """Print each check as it ends; return whether all held."""
    held = True
    for one in checks:
        print(f"{'ok  ' if one.held else 'FAIL'} {one.name}: {one.seen}", flush=True)
        held &= one.held
    return held


def check(folder: Path) -> Iterator[Check]:
    """Check what this environment has."""
    yield from (first_request(folder, topic) for topic in LIBRARIES)
    assistant = Assistant(folder)
    with assistant.registry as registry:
        registry.load_all()
        yield from (stand_in(assistant, topic) for topic in LIBRARIES)
        yield every_version(assistant)
        yield from sense(assistant)
        yield from cached(assistant)


def first_request(folder: Path, topic: str) -> Check:
    """A question to a fresh process: whatever answers, it answers soon."""
    command = [sys.executable, "-c", _FIRST, str(folder), topic]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    *said, took = done.stdout.splitlines()
    held = float(took) < FIRST and (answerable(topic) is not said[0].startswith("I cannot say"))
    return Check(f"first request, {topic}", held, f"{float(took):.2f} s: {said[0]}")


def stand_in(assistant: Assistant, topic: str) -> Check:
    """The model itself where its library is there, else its fallback, and why."""
    name = f"who answers, {topic}"
    try:
        answer = asyncio.run(assistant.questions[topic]())
    except HotstartError as error:
        return Check(name, not answerable(topic) and "pip install" in str(error), str(error))
    own = answer.reason is None
    if topic == "mood" and not own:  # its model may be absent though its library is not
        return Check(name, answerable(topic), f"{answer.model}: {answer.reason}")
    return Check(name, own == installed(LIBRARIES[topic]), f"{answer.model}: {answer.reason}")


def every_version(assistant: Assistant) -> Check:
    """Whether each version that requests are led to was loaded, where its library is there."""
    entry = assistant.registry.models()["churn"]
    held = (entry.last_error is None) == installed("sklearn")
    return Check("every version of churn", held, str(entry.last_error or ", ".join(entry.versions)))


def sense(assistant: Assistant) -> Iterator[Check]:
    """Whether the answers are any good."""
    if answerable("mood"):
        lines = (assistant.folder / "market.jsonl").read_text(encoding="utf-8").splitlines()
        texts = [json.loads(line) for line in lines]
        found = assistant.registry.predict("mood", [text["text"] for text in texts]).output
        right = statistics.mean(
            feeling["label"] == text["tone"] for feeling, text in zip(found, texts, strict=True)
        )
        yield Check("tone told rightly", right >= 0.75, f"{right:.0%} of {len(texts)} texts")
    rows, left = churners(assistant.folder)
    risks = [risk for _, risk in assistant.registry.predict("churn", rows, key="a").output]
    gone, rest = (
        statistics.mean(r for r, went in zip(risks, left, strict=True) if went == wanted)
        for wanted in (True, False)
    )
    yield Check("who left is at risk", gone > rest + 0.1, f"{gone:.0%}, the others {rest:.0%}")
    week = assistant.registry.predict("sales", {"periods": 7, "freq": "D"}).output
    days = {day["ds"][:10]: day["yhat"] for day in week}
    best = max(days, key=days.__getitem__)
    held = len(days) == 7 and best == "2026-01-03"
    yield Check("a week is forecast", held, f"most on {best}, a Saturday")


def cached(assistant: Assistant) -> Iterator[Check]:
    """How long a loaded model takes."""
    registry = assistant.registry
    asked = {
        "mood": ["a wonderful day"],
        "churn": churners(assistant.folder)[0][:1],
        "sales": {"periods": 7},
    }
    for topic in filter(answerable, LIBRARIES):

        def ask(topic: str = topic) -> object:
            return registry.predict(topic, asked[topic])

        took = statistics.median(timeit.repeat(ask, number=1, repeat=7))
        yield Check(f"loaded, {topic}", took < CACHED, f"{1000 * took:.1f} ms")
    name = next(iter(registry.loaded_models))
    took = min(timeit.repeat(lambda: registry.get_model(name), number=10_000)) / 10_000
    yield Check("get_model", took < CACHED, f"{1e6 * took:.2f} µs")


def check_environment(name: str, extras: list[str], folder: Path) -> bool:
    """Do the same where nothing else is installed but hotstart with `extras`."""
    print(f"\nEnvironment: {name}", flush=True)
    with tempfile.TemporaryDirectory() as home:
        run([sys.executable, "-m", "venv", home])
        wanted = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
        python = str(Path(home) / "bin" / "python")
        run([python, "-m", "pip", "install", "--quiet", wanted])
        began = time.monotonic()
        done = subprocess.run(
            [python, "-m", "examples.business_assistant.verify", "--data", str(folder.resolve())],
            cwd=ROOT,
            check=False,
        )
        print(f"     {time.monotonic() - began:.0f} s in all")
        return done.returncode == 0


def run(command: list[str]) -> None:
    """Run a command; end where it fails, with what it says."""
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"This failed: {' '.join(command)}")


def installed(library: str) -> bool:
    """Whether a library is there; it is not imported."""
    return importlib.util.find_spec(library) is not None


def answerable(topic: str) -> bool:
    """Whether the model of a topic, or what stands in for it, can be there."""
    needed = STAND_INS[topic]
    return needed is None or installed(needed)


def churners(folder: Path) -> tuple[list[list[float]], list[bool]]:
    """The customers, and which of them left."""
    with (folder / "churn.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    rows = [[float(row[name]) for name in make_data.CHURN_COLUMNS] for row in table]
    return rows, [float(row["left"]) == 1 for row in table]


if __name__ == "__main__":
    sys.exit(main())
