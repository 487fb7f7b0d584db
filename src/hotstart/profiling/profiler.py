"""Run measured processes and compose their report."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median
from typing import NamedTuple

from hotstart.errors import InvalidInput, MissingExtra, check_count
from hotstart.profiling.report import Peer, Report, RunFacts, Trial, advise, trials
from hotstart.profiling.stages import Run, Task, account, medians, of_a_peer, start
from hotstart.system import available_cores

SENTENCE_TRANSFORMERS = "sentence-transformers"
_PEER_RUNS = 3  # seconds each


class Subject(NamedTuple):
    """The model and strategy to profile.

    Attributes:
        model: name or folder, see `Embedder`.
        strategy: name of the strategy; None for the configured one.
        folder: original files of the model, for another library; None if they are gone.
        other_file_system: whether the cache is on another file system than the model.
    """

    model: str
    strategy: str | None
    folder: str | None = None
    other_file_system: bool = False


def profile(
    subject: Subject,
    runs: int = 5,
    against: str | None = None,
    on_run: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Measure fresh processes and return a report; call `on_run` with the number of ended ones.

    The kinds of processes alternate, so that a slow moment of the machine affects all of them. The
    first process prepares a model that is not prepared.

    Raises:
        MissingExtra: the library to compare with is not installed.
        HotstartError: the model could not be loaded.
    """
    _check(subject, runs, against)
    plain = Task("hotstart", subject.model, subject.strategy or "")
    first = start(plain)
    facts = _facts(subject, first)
    to_try = trials(facts)
    with ExitStack() as stack:
        tasks = {"plain": plain, "imports": plain._replace(mode="imports")}
        for name, trial in to_try.items():
            tasks[name] = _task(plain, trial, stack)
            start(tasks[name])  # brings its files into the page cache, and writes its bytecode
        if against and subject.folder:
            tasks[against] = Task(against, subject.folder)
            start(tasks[against])
        samples = _in_turn(tasks, runs, against, on_run)
    report = _report(subject, samples, first)
    facts = facts._replace(total_ms=report.total_ms, stages=tuple(report.stages))
    tried = {name: _total_ms(samples[name]) for name in to_try}
    peer = _peer(against, samples[against], report.total_ms) if against in samples else None
    return report._replace(advice=advise(facts, tried), against=peer)


def _report(subject: Subject, samples: dict[str, list[Run]], first: Run) -> Report:
    """The report before anything is advised or compared."""
    plain = samples["plain"]
    last = plain[-1].result
    beside = medians([run.result["stages"] for run in plain])
    return Report(
        model=subject.model,
        strategy=last["strategy"],
        engine=last["engine"],
        python=".".join(map(str, sys.version_info[:3])),
        cores=available_cores(),
        runs=len(plain),
        totals_ms=[1000 * run.total for run in plain],
        total_ms=_total_ms(plain),
        first_run_ms=1000 * first.total,
        constructor_ms=1000 * median(run.result["constructor"] for run in plain),
        second_inference_ms=1000 * median(run.result["second"] for run in plain),
        stages=account(plain, samples["imports"]),
        beside={stage: 1000 * beside[stage] for stage in list(beside)[1:]},
        advice=[],
    )


def _check(subject: Subject, runs: int, against: str | None) -> None:
    check_count("--runs", runs)
    if against is None:
        return
    if against != SENTENCE_TRANSFORMERS:
        raise InvalidInput("--against", got=against, expected=SENTENCE_TRANSFORMERS)
    if find_spec("sentence_transformers") is None:
        raise MissingExtra(SENTENCE_TRANSFORMERS, extra="torch")
    if subject.folder is None:
        raise InvalidInput("MODEL", got=subject.model, expected="a model whose own files are here")


def _facts(subject: Subject, first: Run) -> RunFacts:
    result = first.result
    return RunFacts(
        model=subject.model,
        strategy=result["strategy"].partition(" ")[0],
        loaded=tuple(result["stages"]),
        dont_write_bytecode=result["dont_write_bytecode"],
        uncompiled=tuple(result["uncompiled"]),
        other_file_system=subject.other_file_system,
        marks=tuple(first.marks),
        first_run_ms=1000 * first.total,
    )


def _task(plain: Task, trial: Trial, stack: ExitStack) -> Task:
    if trial.compiled:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="hotstart-bytecode-"))
        return plain._replace(mode="compiled", pycache=folder)
    return plain._replace(strategy=trial.strategy or plain.strategy)


def _in_turn(
    tasks: dict[str, Task],
    runs: int,
    against: str | None,
    on_run: Callable[[int, int], None],
) -> dict[str, list[Run]]:
    samples: dict[str, list[Run]] = {name: [] for name in tasks}
    wanted = {name: min(runs, _PEER_RUNS) if name == against else runs for name in tasks}
    done = 0
    total = sum(wanted.values())
    for number in range(runs):
        for name, task in tasks.items():
            if number < wanted[name]:
                samples[name].append(start(task))
                done += 1
                on_run(done, total)
    return samples


def _peer(name: str | None, runs: list[Run], total_ms: float) -> Peer:
    peer_ms = _total_ms(runs)
    stages = of_a_peer(medians([run.intervals for run in runs]))
    return Peer(str(name), peer_ms, peer_ms / total_ms, stages)


def _total_ms(runs: list[Run]) -> float:
    return 1000 * median(run.total for run in runs)
