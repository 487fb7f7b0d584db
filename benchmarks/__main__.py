"""`python -m benchmarks`: hotstart beside its peers, from process start to bulk work and caches."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks import (
    caching,
    figures,
    first_light,
    machine,
    prepare,
    readiness,
    registry,
    report,
    strategies,
)
from benchmarks.picture import write_caching_picture, write_picture, write_readiness_picture
from benchmarks.prepare import Workplace

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


def _caching(place: Workplace, arguments: argparse.Namespace, facts: dict[str, object]) -> bool:
    """Run the scenario; whether a peer failed."""
    outcome = caching.run(place, arguments.rounds)
    shown = (*caching.FIGURES, caching.ROUND_TRIP)
    table = figures.tabulate(outcome, shown, beside=caching.LANGCHAIN)
    verdicts = caching.judge(table)
    document = caching.as_json(table, outcome, verdicts, facts)
    report.write_json(arguments.out / "caching.json", document)
    write_caching_picture(arguments.out / "caching.png", table, facts)
    _print(report.table_lines(table, shown, caching.NAMES))
    _print(report.closing_lines(outcome, verdicts))
    return bool(outcome.failures)


def _registry(place: Workplace, arguments: argparse.Namespace, facts: dict[str, object]) -> bool:
    """Run the scenario; whether a peer failed."""
    outcome = registry.run(place, arguments.rounds)
    shown = (*registry.FIGURES, registry.LISTING)
    table = figures.tabulate(outcome, shown, beside=registry.SEQUENCE)
    verdicts = registry.judge(table)
    document = registry.as_json(table, outcome, verdicts, facts)
    report.write_json(arguments.out / "registry.json", document)
    _print(report.table_lines(table, shown, registry.NAMES))
    _print(report.closing_lines(outcome, verdicts))
    return bool(outcome.failures)


_SCENARIOS = {
    "first_light": _first_light,
    "readiness": _readiness,
    "caching": _caching,
    "registry": _registry,
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
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
