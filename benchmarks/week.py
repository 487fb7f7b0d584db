"""A week of work with an index: what activation from use changes on the next day.

    python -m benchmarks.week FOLDER [--seeds 5]

FOLDER is where the packages of questions.json lie; absent ones are fetched. A simulated person
works for five days on a part of a package: opens files that answer some of its questions, edits
some of them, and opens others by chance. On the next morning the person asks these questions, and
control questions about the rest. Each figure is nDCG@10 of the lexical answer, with and without
activation; the seeds make each week.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from benchmarks.ndcg import ndcg
from benchmarks.questions import Package, Question, fetch, read_packages
from hotstart.search import SearchIndex
from hotstart.search.location import DATABASE, locate
from hotstart.search.store import Store

_DAY = 86_400.0
_DAYS = 5
_NIGHT = 15 * 3600.0  # between the last use of the week and the questions
_WORKED_ON = 0.4  # of the questions
_TASKS = 3  # questions worked on in a day
_BY_CHANCE = 3  # other files opened in a day


class Gain(NamedTuple):
    """nDCG@10 of a question without and with activation."""

    without: float
    with_use: float


class Use(NamedTuple):
    """A file and the time of its use."""

    path: str
    time: float


def week_of(work: Sequence[Question], paths: Sequence[str], now: float, seed: str) -> list[Use]:
    """Return the uses of a week that ended in the evening before `now`."""
    chance = random.Random(seed)
    uses = []
    for day in range(_DAYS, 0, -1):
        evening = now - _NIGHT - (day - 1) * _DAY
        opened = [
            path for task in chance.sample(work, min(_TASKS, len(work))) for path in task.files
        ]
        edited = [path for path in opened if chance.random() < 0.5]
        for path in [*opened, *edited, *chance.sample(paths, min(_BY_CHANCE, len(paths)))]:
            uses.append(Use(path, evening - chance.uniform(0, 8 * 3600)))
    return sorted(uses, key=lambda use: use.time)


def ask(index: SearchIndex, question: Question) -> Gain:
    """Return the gains of one question."""
    plain, used = (
        ndcg([hit.path for hit in index.search(question.query, activation=on).hits], question.files)
        for on in (False, True)
    )
    return Gain(plain, used)


def measure(package: Package, folder: Path, seeds: int) -> tuple[list[Gain], list[Gain]]:
    """Return the gains of the questions about the week's work, and those of the control."""
    root = fetch(package, folder)
    index = SearchIndex(root)
    index.update()
    worked: list[Gain] = []
    control: list[Gain] = []
    for seed in range(seeds):
        chance = random.Random(f"{package.name} {seed}")
        questions = chance.sample(package.questions, len(package.questions))
        cut = max(1, round(_WORKED_ON * len(questions)))
        database = str(Path(locate([str(root)]).home) / DATABASE)
        with closing(sqlite3.connect(database, isolation_level=None)) as connection:
            connection.execute("DELETE FROM uses")
        with Store(database) as store:
            paths = sorted(store.documents())
            with store.transaction():
                for use in week_of(questions[:cut], paths, time.time(), f"{package.name} {seed}"):
                    store.use(use.path, use.time)
        touched = {path for question in questions[:cut] for path in question.files}
        worked += [ask(index, question) for question in questions[:cut]]
        control += [
            ask(index, question)
            for question in questions[cut:]
            if not touched & set(question.files)
        ]
    return worked, control


def row(title: str, gains: Sequence[Gain]) -> str:
    """Return the figures of some questions."""
    without = statistics.mean(gain.without for gain in gains)
    used = statistics.mean(gain.with_use for gain in gains)
    lower = sum(gain.with_use < gain.without - 0.01 for gain in gains)
    return f"{title:12} {len(gains):5}  {without:.3f}  {used:.3f}  {used - without:+.3f}  {lower:5}"


def main() -> None:
    """Print the figures of all packages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    worked: list[Gain] = []
    control: list[Gain] = []
    for package in (*read_packages("dev"), *read_packages("test")):
        of_work, of_control = measure(package, arguments.folder, arguments.seeds)
        worked += of_work
        control += of_control
    print("questions    count  plain    use   change  lower by more than .01")
    print(row("of the work", worked))
    print(row("control", control))


if __name__ == "__main__":
    main()
