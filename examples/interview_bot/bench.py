"""How long a person waits: with the real model, with loads slowed to 10 s, with one that fails.

Each scene is a fresh process (this module run with the scene) which talks to the interviewer as a
transport does. The clock is the system's monotonic one, which parent and child share, so that the
interpreter's own start counts too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from examples.interview_bot.assembly import MODEL, make_interviewer
from examples.interview_bot.interviewer import LENGTH
from examples.interview_bot.reference import load_points

CONSTRUCTOR_SECONDS = 1.0
SECOND_QUESTION_SECONDS = 6.0
TYPING_SECONDS = 3.0
"""How long a name or an answer takes to type, where the scene has a person and not a machine."""

_ROOT = Path(__file__).parents[2]
_NAME = "Ada"


class Scene(NamedTuple):
    """One run: which model, and how long each input is typed."""

    name: str
    model: str
    typing: float


SCENES = (
    Scene("real model, typed at once", MODEL, 0),
    Scene("real model, typed in 3 s", MODEL, TYPING_SECONDS),
    Scene("10 s load, typed at once", "fake:dimension=384,load_seconds=10", 0),
    Scene("10 s load, typed in 3 s", "fake:dimension=384,load_seconds=10", TYPING_SECONDS),
    Scene("load fails, typed at once", "./there-is-no-model-here", 0),
)


class Timings(NamedTuple):
    """Seconds; the waits leave out what the person spends typing.

    Attributes:
        constructor: making the interviewer, its embedder included.
        greeting: from the start of the process to the greeting.
        first_question: waited from the start of the process to the first question, in all.
        second_question: waited from the start of the process to the second question, in all.
        longest_wait: the longest wait for any message.
        context_from: number of the first question asked with context, None where none was.
    """

    constructor: float
    greeting: float
    first_question: float
    second_question: float
    longest_wait: float
    context_from: int | None


class Measured(NamedTuple):
    """A scene with its timings."""

    scene: str
    timings: Timings

    def broken(self) -> list[str]:
        """The promises this scene did not keep."""
        kept = (
            ("constructor", self.timings.constructor, CONSTRUCTOR_SECONDS),
            ("second question", self.timings.second_question, SECOND_QUESTION_SECONDS),
        )
        return [
            f"{self.scene}: {what} took {seconds:.2f} s, promised is less than {bound:g} s"
            for what, seconds, bound in kept
            if seconds >= bound
        ]


def main(out: Path, scenes: Sequence[Scene] = SCENES) -> int:
    """Run every scene, print the table, write `out`; 1 where a promise was not kept."""
    measured = [Measured(scene.name, _in_fresh_process(scene)) for scene in scenes]
    for line in table(measured):
        print(line)
    broken = [promise for each in measured for promise in each.broken()]
    for promise in broken:
        print(f"NOT KEPT  {promise}")
    document = {
        "promises": {
            "constructor": CONSTRUCTOR_SECONDS,
            "second_question": SECOND_QUESTION_SECONDS,
        },
        "broken": broken,
        "scenes": {each.scene: each.timings._asdict() for each in measured},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if broken else 0


def table(measured: Sequence[Measured]) -> list[str]:
    """The timings as lines of text."""
    heads = ("constructor", "greeting", "question 1", "question 2", "longest wait", "context from")
    lines = [f"{'seconds':<27}" + "".join(f"{head:>14}" for head in heads)]
    for each in measured:
        *seconds, context_from = each.timings
        cells = [f"{value:>14.3f}" for value in seconds]
        cells.append(f"{'never' if context_from is None else f'question {context_from}':>14}")
        lines.append(f"{each.scene:<27}" + "".join(cells))
    return lines


async def measure(scene: Scene, started: float) -> Timings:
    """Go through one interview; `started` is the process's start on the monotonic clock."""
    before = time.monotonic()
    interviewer = make_interviewer(scene.model, length=LENGTH)
    constructor = time.monotonic() - before
    waits = [before + constructor - started]
    context_from = None
    try:
        for number, text in enumerate(("/start", _NAME, *_answers())):
            if number:
                await asyncio.sleep(scene.typing)
            asked = time.monotonic()
            reply = await interviewer.hear("bench", text)
            waits.append(time.monotonic() - asked)
            if not number:
                interviewer.prepare()
            if context_from is None and ") On " in reply.messages[-1]:
                context_from = number
    finally:
        await interviewer.close()
    start, greeting, first, second, *_ = waits
    return Timings(
        constructor,
        start + greeting,
        start + greeting + first,
        start + greeting + first + second,
        max(waits[1:]),
        context_from,
    )


def _answers() -> list[str]:
    """Answers to all questions but the last, near to a reference point even for `fake` vectors.

    Those mean nothing, but one text has one vector: each answer is a point's own text.
    """
    return [point.text for point in load_points()[: LENGTH - 1]]


def _in_fresh_process(scene: Scene) -> Timings:
    started = time.monotonic()
    command = [sys.executable, "-m", __name__, json.dumps(scene), repr(started)]
    ran = subprocess.run(
        command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=120
    )
    return Timings(**json.loads(ran.stdout.splitlines()[-1]))


def _child(scene: str, started: str) -> None:
    logging.basicConfig(level=logging.ERROR)  # a slow model is what is measured here, no news
    timings = asyncio.run(measure(Scene(*json.loads(scene)), float(started)))
    print(json.dumps(timings._asdict()))


if __name__ == "__main__":
    _child(*sys.argv[1:])
