"""The scenario: every peer from process start to its first vector, then warm, in turn."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measure import ChildFailed, Run, child_environment, cosine, spawn
from benchmarks.peers import (
    FLOOR,
    PEERS,
    REFERENCE,
    Peer,
    first_vector_program,
    import_program,
    private_memory_program,
    serving_program,
)
from benchmarks.prepare import Workplace

Samples = dict[str, dict[str, list[float]]]
"""Figure → peer → one value for each round, in seconds, bytes, texts/s or as a cosine."""


@dataclass(frozen=True)
class Failure:
    """A peer that could not be measured, and why."""

    peer: str
    scene: str
    error: str


@dataclass
class Outcome:
    """All that a run found."""

    samples: Samples = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    failures: list[Failure] = field(default_factory=list)

    def note(self, figure: str, peer: str, value: float) -> None:
        """Keep one value."""
        self.samples[figure][peer].append(value)


@dataclass(frozen=True)
class Scene:
    """One program run by each of `peers`, and what is kept of a round's runs.

    Attributes:
        discarded: rounds run first and thrown away.
    """

    name: str
    program: Callable[[Peer], str]
    peers: Sequence[Peer]
    keep: Callable[[Outcome, dict[str, Run]], None]
    discarded: int


def run(place: Workplace, rounds: int) -> Outcome:
    """Run every scene and return what was found; a peer that fails is named in it."""
    outcome = Outcome()
    for scene in _scenes():
        run_scene(scene, place, rounds, outcome)
    return outcome


def _scenes() -> tuple[Scene, ...]:
    importing = [peer for peer in PEERS if not peer.cold_cache and "progressive" not in peer.name]
    serving = [peer for peer in PEERS if peer.serves]
    return (
        Scene("first vector", first_vector_program, PEERS, keep_first_vector, 1),
        Scene("private memory", private_memory_program, PEERS, keep_private_memory, 0),
        Scene("import", import_program, importing, _keep_import, 1),
        Scene("serving", serving_program, serving, keep_serving, 0),
    )


def run_scene(scene: Scene, place: Workplace, rounds: int, outcome: Outcome) -> None:
    """Peers in turn, so that a slow minute of the machine falls on all of them.

    A discarded round brings every peer's files into the page cache; the serving program warms
    itself up. A peer that fails is left out of the later rounds of the scene.
    """
    failed: set[str] = set()
    for number in range(1 - scene.discarded, rounds + 1):
        runs: dict[str, Run] = {}
        for peer in scene.peers:
            if peer.name in failed:
                continue
            print(f"{scene.name}, round {number} of {rounds}: {peer.name}", file=sys.stderr)
            try:
                runs[peer.name] = _run_once(scene.program(peer), peer, place)
            except ChildFailed as error:
                failed.add(peer.name)
                outcome.failures.append(Failure(peer.name, scene.name, str(error)))
        if number > 0:
            scene.keep(outcome, runs)


def _run_once(program: str, peer: Peer, place: Workplace) -> Run:
    program = place.complete(program)
    if not peer.cold_cache:
        return spawn(program, child_environment(place.cache), place.home)
    # Beside the warm cache, because hotstart hard-links weights where the file system allows it.
    cold = Path(tempfile.mkdtemp(prefix="cold-", dir=place.home))
    try:
        return spawn(program, child_environment(cold), place.home)
    finally:
        shutil.rmtree(cold, ignore_errors=True)


def keep_first_vector(outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep the time and the peak memory."""
    for peer, done in runs.items():
        outcome.note("first_vector", peer, done.seconds)
        outcome.note("peak_memory", peer, done.peak_bytes)


def keep_private_memory(outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep the number of kB that ends the output."""
    for peer, done in runs.items():
        outcome.note("private_memory", peer, 1024 * float(done.output.splitlines()[-1]))


def _keep_import(outcome: Outcome, runs: dict[str, Run]) -> None:
    """Times over bare Python of the same round."""
    if FLOOR not in runs:
        return
    for peer, done in runs.items():
        if peer != FLOOR:
            outcome.note("import", peer, done.seconds - runs[FLOOR].seconds)


def keep_serving(outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep latency, throughput, memory, and cosines to the reference of the same round."""
    answers = {peer: answer_of(done) for peer, done in runs.items()}
    expected = answers.get(REFERENCE, {}).get("vectors")
    for peer, answer in answers.items():
        laps = sorted(answer["latencies"])
        outcome.note("latency", peer, laps[len(laps) // 2])
        outcome.note("throughput", peer, answer["bulk_texts"] / answer["bulk_seconds"])
        outcome.note("serving_memory", peer, runs[peer].peak_bytes)
        if expected is not None:
            found = [cosine(*pair) for pair in zip(answer["vectors"], expected, strict=True)]
            outcome.note("cosine_min", peer, min(found))
            outcome.note("cosine_mean", peer, sum(found) / len(found))


def keep_answers(outcome: Outcome, runs: dict[str, Run]) -> None:
    """Keep each figure that a program told, under the name it told."""
    for peer, done in runs.items():
        for figure, seconds in answer_of(done).items():
            outcome.note(figure, peer, seconds)


def answer_of(done: Run) -> dict[str, Any]:
    """Return the JSON of the last line; a library may have printed before it."""
    answer: dict[str, Any] = json.loads(done.output.splitlines()[-1])
    return answer
