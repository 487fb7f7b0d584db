"""The scenario: hotstart's server beside infinity-emb under load, alone and beside bulk work."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Table
from benchmarks.first_light import Failure, Outcome
from benchmarks.load import Job, Told
from benchmarks.measure import ChildFailed
from benchmarks.prepare import Workplace
from benchmarks.report import figures_as_json, scenario_as_json
from benchmarks.servers import (
    CONFIGS,
    EIGHT_BITS,
    HOTSTART,
    MODEL,
    OPTIMUM,
    SERVERS,
    TORCH,
    Server,
    Site,
    running,
    shown,
    site,
)
from benchmarks.verdict import Verdict

ROUNDS = 3
"""Most rounds; one takes some four minutes."""
BATCH = 64
_MANY = 256
"""Connections where requests are sent when due: more than one waits for."""
_SATURATED = 0.85
"""Share of the offered load; a server that answers less of it has reached its most."""

FIGURES = (
    Figure("ready", "Process start to ready", "s", 1, ".2f", "less"),
    Figure("short_rate", "Short texts, 32 connections", "requests/s", 1, ".0f", "more"),
    Figure("short_p99", "p99 of them", "ms", 1e3, ".1f", "less"),
    Figure("bulk_rate", "64 texts of 122 tokens, 8 connections", "requests/s", 1, ".2f", "more"),
    Figure("bulk_p99", "p99 of them", "s", 1, ".2f", "less"),
    Figure("idle_p50", "Interactive, 20 a second, p50", "ms", 1e3, ".1f", "less"),
    Figure("idle_p99", "p99 of them", "ms", 1e3, ".1f", "less"),
    Figure("busy_p50", "The same beside bulk work, p50", "ms", 1e3, ".1f", "less"),
    Figure("busy_p99", "p99 of them", "ms", 1e3, ".1f", "less"),
    Figure("busy_ratio", "p99 beside bulk work over idle", "×", 1, ".1f", "same"),
    Figure("beside_rate", "Bulk work beside them", "requests/s", 1, ".2f", "more"),
    Figure("errors", "Requests without an answer", "", 1, ".0f", "same"),
)

Curve = list[tuple[float, float, float]]
"""Offered requests/s, answers/s and the p99 in seconds, for rising load."""


@dataclass(frozen=True)
class Length:
    """For how long each part asks, in seconds, and the rates that rise."""

    warm_up: float = 6.0
    short: float = 10.0
    bulk: float = 20.0
    interactive: float = 15.0
    step: float = 4.0
    interactive_rate: float = 20.0
    rates: tuple[float, ...] = tuple(round(20 * 1.5**n) for n in range(2, 12))
    most_short: int = 40_000
    most_bulk: int = 256


@dataclass
class Found:
    """What the scenario found: figures, failures, and a curve of each server."""

    outcome: Outcome = field(default_factory=Outcome)
    curves: dict[str, Curve] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)


def run(place: Workplace, rounds: int, infinity: Path, length: Length | None = None) -> Found:
    """Run every server in turn, one at a time; one that fails is left out of later rounds."""
    found = Found()
    servers = site(place, infinity)
    found.commands = {server.name: shown(server, servers) for server in SERVERS}
    rounds = min(rounds, ROUNDS)
    for number in range(1, rounds + 1):
        for server in SERVERS:
            if any(failure.peer == server.name for failure in found.outcome.failures):
                continue
            print(f"service, round {number} of {rounds}: {server.name}", file=sys.stderr)
            try:
                _measure(server, servers, found, length or Length(), last=number == rounds)
            except ChildFailed as error:
                found.outcome.failures.append(Failure(server.name, "service", str(error)))
    return found


def _measure(server: Server, site: Site, found: Found, length: Length, *, last: bool) -> None:
    with running(server, site) as (port, took):
        asking = Asking(port, length)
        values = {"ready": took} | asking.figures()
        curve = asking.curve() if last else []
    for figure, value in values.items():
        found.outcome.note(figure, server.name, value)
    if curve:
        found.curves[server.name] = curve
    if asking.errors:
        found.errors.setdefault(server.name, []).extend(asking.errors)


class Asking:
    """The parts of the scenario, asked of the server at `port`; each with texts of its own."""

    def __init__(self, port: int, length: Length) -> None:
        self._port = port
        self._length = length
        self._seeds: Iterator[int] = itertools.count(1)
        self._failed = 0
        self.errors: list[str] = []

    def figures(self) -> dict[str, float]:
        """Warm up, then ask one part after the other."""
        self._done(self._bulk(self._length.warm_up))
        self._done(self._short(self._length.warm_up))  # what bulk work had loaded is there by then
        short = self._done(self._short(self._length.short))
        bulk = self._done(self._bulk(self._length.bulk))
        idle = self._done(self._interactive())
        beside, busy = self._together()
        return {
            "short_rate": short.rate,
            "short_p99": _known(short.p99),
            "bulk_rate": bulk.rate,
            "bulk_p99": _known(bulk.p99),
            "idle_p50": _known(idle.p50),
            "idle_p99": _known(idle.p99),
            "busy_p50": _known(busy.p50),
            "busy_p99": _known(busy.p99),
            "busy_ratio": _known(busy.p99) / _known(idle.p99),
            "beside_rate": beside.rate,
            "errors": float(self._failed),
        }

    def curve(self) -> Curve:
        """Ask at rising rates until answers no longer keep up.

        Twice running, so that one bad moment of the machine does not end it.
        """
        curve: Curve = []
        behind = 0
        for rate in self._length.rates:
            told = self._done(self._job(self._length.step, _MANY, rate=rate))
            curve.append((rate, told.rate, _known(told.p99)))
            behind = behind + 1 if told.rate < _SATURATED * rate else 0
            if behind == 2:
                break
        return curve

    def _short(self, seconds: float) -> Job:
        return self._job(seconds, 32, most=self._length.most_short)

    def _bulk(self, seconds: float) -> Job:
        return self._job(seconds, 8, batch=BATCH, most=self._length.most_bulk)

    def _interactive(self) -> Job:
        rate = self._length.interactive_rate
        return self._job(self._length.interactive, _MANY, rate=rate)

    def _job(self, seconds: float, connections: int, **how: Any) -> Job:
        return Job(self._port, MODEL, next(self._seeds), connections, seconds, **how)

    def _together(self) -> tuple[Told, Told]:
        """Bulk work from before the interactive texts until after them."""
        seconds, lead = self._length.interactive, self._length.warm_up
        bulk = self._bulk(seconds + 2 * lead)
        working = _start(bulk)
        try:
            time.sleep(lead)
            busy = self._done(self._interactive())
            beside = self._kept(_finish(working, bulk))
        finally:
            working.kill()
            working.wait()
        return beside, busy

    def _done(self, job: Job) -> Told:
        return self._kept(_finish(_start(job), job))

    def _kept(self, told: Told) -> Told:
        self._failed += told.errors
        if told.errors:
            self.errors.append(f"{told.errors} of {told.errors + told.answers}: {told.first_error}")
        return told


def _known(seconds: float | None) -> float:
    if seconds is None:
        raise ChildFailed("not one request was answered")
    return seconds


def _start(job: Job) -> subprocess.Popen[str]:
    """Start a process that does `job`."""
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(job))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str], job: Job) -> Told:
    try:
        output, error = process.communicate(timeout=2 * (job.seconds + job.patience))
    except subprocess.TimeoutExpired:
        process.kill()
        output, error = process.communicate()
    if process.returncode:
        raise ChildFailed(f"the load generator: {error}")
    return Told(**json.loads(output))


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise, by medians; in either precision, beside each engine."""
    return [verdict for own in (HOTSTART, EIGHT_BITS) for verdict in _verdicts(table, own)]


def _verdicts(table: Table, own: str) -> Iterator[Verdict]:
    for part, title in (("short", "short texts"), ("bulk", "batches of 64")):
        for engine in (TORCH, OPTIMUM):
            rate, p99 = (_times(table, f"{part}_{what}", own, engine) for what in ("rate", "p99"))
            beside = f"{own}: {title}, times {engine}'s"
            yield Verdict(f"{beside} requests/s", 2, at_most=False, found=rate)
            yield Verdict(f"{beside} p99 is of its own", 1, at_most=False, found=p99)
    busy, errors = (_median(table, figure, own) for figure in ("busy_ratio", "errors"))
    text = f"{own}: interactive p99 beside bulk work, times its idle value"
    yield Verdict(text, 4, at_most=True, found=busy)
    yield Verdict(f"{own}: requests that were not answered", 0, at_most=True, found=errors)


def _times(table: Table, figure: str, own_name: str, engine: str) -> float | None:
    """How many times better than `engine` the other is."""
    own, other = _median(table, figure, own_name), _median(table, figure, engine)
    if not own or not other:
        return None
    return own / other if figure.endswith("rate") else other / own


def _median(table: Table, figure: str, server: str) -> float | None:
    cell = table[figure].get(server)
    return cell.value.median if cell else None


def as_json(
    table: Table, found: Found, verdicts: list[Verdict], facts: dict[str, object]
) -> dict[str, Any]:
    """Return all of it as one JSON document; values in seconds and requests/s."""
    commands = found.commands | {
        f"{name}: hotstart.toml": content.splitlines() for name, content in CONFIGS.items()
    }
    shown = figures_as_json(table, FIGURES)
    document = scenario_as_json(shown, found.outcome, verdicts, facts, commands)
    return document | {"curves": found.curves, "errors": found.errors}
