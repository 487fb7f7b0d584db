"""`python -m benchmarks`: hotstart beside its peers, from process start to a server's load."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    alive,
    caching,
    figures,
    first_light,
    large,
    machine,
    prepare,
    readiness,
    registry,
    report,
    servers,
    service,
    strategies,
)
from benchmarks.curve import write_curves
from benchmarks.figures import Figure, Table
from benchmarks.first_light import Outcome
from benchmarks.peers import REFERENCE, Peer
from benchmarks.picture import write_caching_picture, write_picture, write_readiness_picture
from benchmarks.prepare import Workplace
from benchmarks.verdict import Verdict

_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run, print, write; 1 where a peer failed. A promise not kept is printed, not hidden."""
    arguments = _arguments()
    facts = machine.machine_facts() | {"rounds": arguments.rounds}
    print("preparing: bytecode, texts, fastembed's export, hotstart's artifact", file=sys.stderr)
    place = prepare.prepare(arguments.cache)
    facts["bulk_tokens_mean"] = prepare.bulk_tokens(place)
    wanted = [arguments.only] if arguments.only else list(_SCENARIOS)
    failures = [_SCENARIOS[name](place, arguments, facts) for name in wanted]
    return 1 if any(failures) else 0


def _first_light(place: Workplace, arguments: argparse.Namespace, facts: dict[str, object]) -> bool:
    """Run the scenario; whether a peer failed."""
    outcome = first_light.run(place, arguments.rounds)
    table = figures.tabulate(outcome)
    verdicts = figures.judge(table)
    document = report.as_json(table, outcome, verdicts, facts)
    report.write_json(arguments.out / "first_light.json", document)
    write_picture(arguments.out / "first_light.png", table, facts)
    _print(report.table_lines(table))
    _print(report.closing_lines(outcome, verdicts))
    return bool(outcome.failures)


def _readiness(place: Workplace, arguments: argparse.Namespace, facts: dict[str, object]) -> bool:
    """Run the scenario; whether a peer failed."""
    outcome = readiness.run(place, arguments.rounds)
    table = figures.tabulate(outcome, readiness.FIGURES)
    verdicts = readiness.judge(table, facts)
    document = readiness.as_json(table, outcome, verdicts, facts)
    report.write_json(arguments.out / "readiness.json", document)
    write_readiness_picture(arguments.out / "readiness.png", table, facts)
    _print(report.table_lines(table, readiness.FIGURES, strategies.NAMES))
    _print(report.closing_lines(outcome, verdicts))
    return bool(outcome.failures)


def _service(place: Workplace, arguments: argparse.Namespace, facts: dict[str, Any]) -> bool:
    """Run the scenario; whether a server failed."""
    facts = facts | {"infinity": servers.infinity_version(arguments.infinity)}
    found = service.run(place, arguments.rounds, arguments.infinity)
    table = figures.tabulate(found.outcome, service.FIGURES, beside=servers.OPTIMUM)
    verdicts = service.judge(table)
    document = service.as_json(table, found, verdicts, facts)
    report.write_json(arguments.out / "service.json", document)
    write_curves(arguments.out / "service.png", found.curves, facts)
    _print(report.table_lines(table, service.FIGURES, servers.NAMES))
    _print(report.closing_lines(found.outcome, verdicts))
    return bool(found.outcome.failures)


@dataclass(frozen=True)
class SideBySide:
    """A scenario whose peers each run one program and tell their figures by name.

    Attributes:
        beside: the peer that ratios are taken to.
        draw: writes its picture; None where it has none.
    """

    name: str
    run: Callable[[Workplace, int], Outcome]
    figures: Sequence[Figure]
    peers: Sequence[Peer]
    beside: str
    program: Callable[[Peer], str]
    judge: Callable[[Table], list[Verdict]]
    draw: Callable[[Path, Table, dict[str, Any]], None] | None = None

    def __call__(
        self, place: Workplace, arguments: argparse.Namespace, facts: dict[str, Any]
    ) -> bool:
        """Run the scenario; whether a peer failed."""
        outcome = self.run(place, arguments.rounds)
        table = figures.tabulate(outcome, self.figures, beside=self.beside)
        verdicts = self.judge(table)
        shown = report.figures_as_json(table, self.figures)
        commands = {peer.name: self.program(peer).splitlines() for peer in self.peers}
        document = report.scenario_as_json(shown, outcome, verdicts, facts, commands)
        report.write_json(arguments.out / f"{self.name}.json", document)
        if self.draw is not None:
            self.draw(arguments.out / f"{self.name}.png", table, facts)
        _print(report.table_lines(table, self.figures, [peer.name for peer in self.peers]))
        _print(report.closing_lines(outcome, verdicts))
        return bool(outcome.failures)


_CACHING = SideBySide(
    "caching",
    caching.run,
    figures=(*caching.FIGURES, caching.ROUND_TRIP),
    peers=caching.PEERS,
    beside=caching.LANGCHAIN,
    program=lambda peer: caching.program(peer, 6379),
    judge=caching.judge,
    draw=write_caching_picture,
)
_REGISTRY = SideBySide(
    "registry",
    registry.run,
    figures=(*registry.FIGURES, registry.LISTING),
    peers=registry.PEERS,
    beside=registry.SEQUENCE,
    program=registry.program,
    judge=registry.judge,
)
_ALIVE = SideBySide(
    "alive",
    alive.run,
    figures=(*alive.FIGURES, alive.TEN),
    peers=alive.PEERS,
    beside=alive.FIRST,
    program=alive.program,
    judge=alive.judge,
)
_LARGE = SideBySide(
    "large",
    large.run,
    figures=large.FIGURES,
    peers=large.PEERS,
    beside=REFERENCE,
    program=large.program,
    judge=large.judge,
)
_SCENARIOS: dict[str, Callable[[Workplace, argparse.Namespace, dict[str, Any]], bool]] = {
    "first_light": _first_light,
    "readiness": _readiness,
    "caching": _CACHING,
    "registry": _REGISTRY,
    "alive": _ALIVE,
    "large": _LARGE,
    "service": _service,
}


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotstart-bench"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds kept of each scene")
    parser.add_argument("--only", choices=_SCENARIOS, help="this scenario alone")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="folder for JSON and PNG")
    parser.add_argument("--cache", type=Path, default=cache, help="folder for what is prepared")
    infinity = Path(".venv-infinity").absolute()
    parser.add_argument("--infinity", type=Path, default=infinity, help="infinity's environment")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
