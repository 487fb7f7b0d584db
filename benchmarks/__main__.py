"""`python -m benchmarks`: hotstart beside its peers, from process start to the first vector."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks import figures, first_light, machine, prepare, report
from benchmarks.picture import write_picture

_RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Run, print, write; 1 where a peer failed. A promise not kept is printed, not hidden."""
    arguments = _arguments()
    facts = machine.machine_facts() | {"rounds": arguments.rounds}
    print("preparing: bytecode, texts, fastembed's export, hotstart's artifact", file=sys.stderr)
    place = prepare.prepare(arguments.cache)
    facts["bulk_tokens_mean"] = prepare.bulk_tokens(place)
    outcome = first_light.run(place, arguments.rounds)
    table = figures.tabulate(outcome)
    verdicts = figures.judge(table)
    document = report.as_json(table, outcome, verdicts, facts)
    report.write_json(arguments.out / "first_light.json", document)
    write_picture(arguments.out / "first_light.png", table, facts)
    for line in report.table_lines(table):
        print(line)
    for line in report.closing_lines(outcome, verdicts):
        print(line)
    return 1 if outcome.failures else 0


def _arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hotstart-bench"
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds kept of each scene")
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
