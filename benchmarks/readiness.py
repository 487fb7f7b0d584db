"""The scenario: each strategy on its way to ready, the event loop meanwhile, and bulk work."""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Cell, Figure, Table
from benchmarks.first_light import (
    Outcome,
    Scene,
    answer_of,
    keep_first_vector,
    keep_private_memory,
    keep_serving,
    run_scene,
)
from benchmarks.measure import Run
from benchmarks.peers import IDLE_LOOP, REFERENCE, first_vector_program, serving_program
from benchmarks.prepare import Workplace
from benchmarks.report import figures_as_json, scenario_as_json
from benchmarks.strategies import (
    BULK,
    LOADING_IN_A_LOOP,
    PROMISED,
    STARTING,
    STRATEGIES,
    THROUGHPUT,
    loop_program,
    ready_program,
    settled_memory_program,
)
from benchmarks.verdict import Verdict

_BULK_ROUNDS = 3
"""Most rounds of bulk work, which takes half a minute each."""

FIGURES = (
    Figure("constructor", "Constructor", "ms", 1e3, ".2f", "less"),
    Figure("load_call", "load()", "ms", 1e3, ".3f", "less"),
    Figure("first_vector", "Process start to first vector", "s", 1, ".3f", "less"),
    Figure("ready", "Process start to fully ready", "s", 1, ".3f", "less"),
    Figure("peak_memory", "Peak memory to first vector", "MB", 1e-6, ".0f", "less"),
    Figure("private_memory", "Private memory, fully ready", "MB", 1e-6, ".0f", "less"),
    Figure("stall_longest", "Longest stall of an event loop", "ms", 1e3, ".1f", "less"),
    Figure("stall_summed", "Stalls of the loop, summed", "ms", 1e3, ".0f", "less"),
    Figure("throughput", "512 texts of about 122 tokens", "texts/s", 1, ".0f", "more"),
    Figure("cosine_min", "Lowest cosine to the reference", "", 1, ".7f", "same"),
)


def run(place: Workplace, rounds: int) -> Outcome:
    """Run every scene and return what was found; what fails is named in it."""
    outcome = Outcome()
    for scene in _scenes():
        kept = min(rounds, _BULK_ROUNDS) if scene.name == "bulk" else rounds
        run_scene(scene, place, kept, outcome)
    return outcome


def _scenes() -> tuple[Scene, ...]:
    """The first scene's discarded round prepares what a strategy needs prepared."""
    return (
        Scene("ready", ready_program, STARTING, _keep_ready, 1),
        Scene("first vector", first_vector_program, STARTING, keep_first_vector, 0),
        Scene("memory when ready", settled_memory_program, STARTING, keep_private_memory, 0),
        Scene("event loop", loop_program, LOADING_IN_A_LOOP, _keep_stalls, 1),
        Scene("bulk", serving_program, BULK, keep_serving, 0),
    )


def _keep_ready(outcome: Outcome, runs: dict[str, Run]) -> None:
    for peer, done in runs.items():
        outcome.note("ready", peer, done.seconds)
        for figure, seconds in answer_of(done).items():
            outcome.note(figure, peer, seconds)


def _keep_stalls(outcome: Outcome, runs: dict[str, Run]) -> None:
    for peer, done in runs.items():
        answer = answer_of(done)
        outcome.note("stall_longest", peer, answer["longest"])
        outcome.note("stall_summed", peer, answer["summed"])


def judge(table: Table, facts: dict[str, Any]) -> list[Verdict]:
    """Return the verdict on each promise: values by their worst round, ratios by medians."""
    amx = bool(facts["flags"]["amx_bf16"])
    without = "" if amx else "the promise is made for CPUs with AMX; this one has none"
    throughput = table["throughput"].get(THROUGHPUT)
    cosine = table["cosine_min"].get(THROUGHPUT)
    return [
        *_judge_stalls(table["stall_longest"]),
        Verdict(
            f"bulk with OpenVINO at least 4 times {REFERENCE} fp32",
            4,
            at_most=False,
            found=throughput.ratio if throughput else None,
            applies=amx,
            note=without,
        ),
        Verdict(
            "its lowest cosine at least 0.9999",
            0.9999,
            at_most=False,
            found=cosine.value.least if cosine else None,
        ),
    ]


def _judge_stalls(stalls: dict[str, Cell]) -> list[Verdict]:
    """What an idle loop suffered on this machine is told too: without it they mean little."""
    worst = {name: 1e3 * cell.value.greatest for name, cell in stalls.items()}
    measured = [worst[name] for name in STRATEGIES if name in worst]
    idle = f"an idle loop: {worst[IDLE_LOOP]:.3g}" if IDLE_LOOP in worst else ""
    own = stalls.get(PROMISED)
    return [
        Verdict(
            f"longest stall of the loop in any round, {PROMISED}, at most 30 ms",
            30,
            at_most=True,
            found=worst.get(PROMISED),
            note=idle,
        ),
        Verdict(
            "the same with every strategy",
            30,
            at_most=True,
            found=max(measured) if len(measured) == len(STRATEGIES) else None,
            note=idle,
        ),
        Verdict(
            f"longest stall at most a sixth of {REFERENCE}'s, times less",
            6,
            at_most=False,
            found=own.ratio if own else None,
        ),
    ]


def as_json(
    table: Table, outcome: Outcome, verdicts: list[Verdict], facts: dict[str, object]
) -> dict[str, Any]:
    """Return all of it as one JSON document; values in seconds, bytes, texts/s and cosines."""
    programs = {
        "ready": (ready_program, STARTING),
        "first vector": (first_vector_program, STARTING),
        "memory when ready": (settled_memory_program, STARTING),
        "event loop": (loop_program, LOADING_IN_A_LOOP),
        "bulk": (serving_program, BULK),
    }
    commands = {
        scene: {peer.name: program(peer).splitlines() for peer in peers}
        for scene, (program, peers) in programs.items()
    }
    return scenario_as_json(figures_as_json(table, FIGURES), outcome, verdicts, facts, commands)
