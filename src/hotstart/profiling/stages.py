"""Compose the stages of a start from runs and import times."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from hotstart.errors import HotstartError
from hotstart.system import python_command

STANDARD_LIBRARY = "standard library"
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| ( *)([\w.]+)$")
_MARK = "hotstart mark "


class _Module(NamedTuple):
    package: str
    seconds: float
    within: list[_Module]


def import_times(log: str) -> dict[str, dict[str, float]]:
    """Return seconds by mark and package; imports before the first mark are under `spawn`.

    A module counts for the outermost third-party package that imported it, so that NumPy includes
    its standard library imports. `standard library` is what hotstart and the interpreter import.
    """
    times: dict[str, dict[str, float]] = {"spawn": {}}
    mark = "spawn"
    open_levels: dict[int, list[_Module]] = defaultdict(list)
    for line in log.splitlines():
        if line.startswith(_MARK):
            times[mark] = _by_package(open_levels)
            mark = line.removeprefix(_MARK)
            times.setdefault(mark, {})
        elif match := _LINE.match(line):
            level = (
                len(match[2]) // 2
            )  # children are printed before their parent, with more indentation
            inner = open_levels.pop(level + 1, [])
            module = _Module(package_of(match[3]), int(match[1]) / 1e6, inner)
            open_levels[level].append(module)
    times[mark] = _by_package(open_levels)
    return times


def package_of(module: str) -> str:
    """Return the package of `module`, one name for all of the standard library."""
    top = module.partition(".")[0]
    return STANDARD_LIBRARY if top in sys.stdlib_module_names else top


def _by_package(levels: dict[int, list[_Module]]) -> dict[str, float]:
    """Return the seconds by package since the last mark; empty `levels`."""
    times: dict[str, float] = defaultdict(float)

    def add(module: _Module, cause: str | None) -> None:
        own = {STANDARD_LIBRARY, "hotstart"}
        cause = cause or (None if module.package in own else module.package)
        times[cause or module.package] += module.seconds
        for inner in module.within:
            add(inner, cause)

    for modules in levels.values():
        for module in modules:
            add(module, None)
    levels.clear()
    return dict(times)


Mode = Literal["plain", "imports", "compiled"]

TIMEOUT = 600.0
"""Seconds after which a measured process is given up."""

_REMEDY = "Run it again with hotstart --debug embed --model MODEL TEXT to see more"


class Task(NamedTuple):
    """What a measured process does.

    Attributes:
        subject: `hotstart` or `sentence-transformers`.
        model: name or folder.
        strategy: name of the strategy; "" for the configured one.
        mode: mode of `child`.
        pycache: folder for bytecode instead of those beside the modules.
    """

    subject: str
    model: str
    strategy: str = ""
    mode: Mode = "plain"
    pycache: str | None = None


class Run(NamedTuple):
    """The result of one measured process.

    Attributes:
        marks: seconds since its start, in order; `first vector` is the last.
        log: output of -X importtime and the marks.
        result: other results of the process.
    """

    marks: dict[str, float]
    log: str
    result: dict[str, Any]

    @property
    def total(self) -> float:
        """Seconds to the first vector."""
        return self.marks["first vector"]

    @property
    def intervals(self) -> dict[str, float]:
        """Seconds from each mark to the next, by name of the first; `spawn` is the earliest."""
        names = ["spawn", *self.marks]
        times = [0.0, *self.marks.values()]
        return {
            name: end - begin for name, begin, end in zip(names, times, times[1:], strict=False)
        }


def start(task: Task) -> Run:
    """Run `task` in a fresh process.

    Raises:
        HotstartError: the process failed; the message has its reason.
    """
    began = time.monotonic()  # the clock is common to all processes of a machine
    try:
        done = subprocess.run(_command(task), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise HotstartError(f"No first vector after {TIMEOUT:g} s", _REMEDY) from error
    lines = done.stdout.decode(errors="replace").splitlines()
    log = done.stderr.decode(errors="replace")
    try:
        result = json.loads(lines[-1])
    except (IndexError, ValueError):
        output = " ".join(log.split())[-300:] or "nothing"
        facts = f"The measured process ended with status {done.returncode} and printed: {output}"
        raise HotstartError(facts, _REMEDY) from None
    if "error" in result:
        facts, remedy = result["error"]
        raise HotstartError(facts, remedy or _REMEDY)
    marks = {name: when - began for name, when in result.pop("marks")}
    return Run(marks, log, result)


def _command(task: Task) -> list[str]:
    options = ["-X", "importtime"] if task.mode == "imports" else []
    if task.pycache is not None:
        options += ["-X", f"pycache_prefix={task.pycache}"]
    with open(os.path.join(os.path.dirname(__file__), "child.py"), encoding="utf-8") as file:
        program = file.read()
    arguments = [task.subject, task.model, task.strategy, task.mode]
    return python_command(program, *arguments, options=options)


Kind = Literal["interpreter", "import", "load", "inference"]


class StageTime(NamedTuple):
    """One stage of the way to the first vector, in milliseconds."""

    name: str
    kind: Kind
    start_ms: float
    ms: float


PREPARING = {"locating", "weights", "checksums", "placing", "prepared", "downloading", "measuring"}
"""What a load reports that had to prepare the model first."""

_NAMES: dict[str, tuple[str, Kind]] = {
    "spawn": ("interpreter", "interpreter"),
    "start": ("imports, the rest", "import"),
    "imported": ("constructor", "load"),
    "metadata": ("metadata", "load"),
    "tokenizer": ("tokenizer", "load"),
    "fast_start": ("session", "load"),
    "full": ("session", "load"),
    "ready": ("first inference", "inference"),
}
_PEER_NAMES: dict[str, tuple[str, Kind]] = {
    "start": ("import", "import"),
    "imported": ("load", "load"),
}
_AFTER = {"import tokenizers", "tokenizer"}  # the engine opens its session first
_SLIVER = 0.0005  # seconds below which imports count as work


def account(plain: Sequence[Run], watched: Sequence[Run]) -> list[StageTime]:
    """Return the stages in order.

    Times are medians of `plain`. The runs `watched` under -X importtime are slower, so only their
    shares of each interval are used.
    """
    shares = _shares(watched)
    pieces: list[tuple[str, Kind, float]] = []
    for mark, seconds in medians([run.intervals for run in plain]).items():
        name, kind = _NAMES.get(mark, ("preparing" if mark in PREPARING else mark, "load"))
        own = seconds
        at = len(pieces)
        for what, share in shares.get(mark, {}).items():
            part = min(own, share * seconds)
            if part >= _SLIVER:
                pieces.append(
                    (what, "load" if what in {"library", "tokenizer"} else "import", part)
                )
                own -= part
        before = [piece for piece in pieces[at:] if piece[0] not in _AFTER and mark != "spawn"]
        after = [piece for piece in pieces[at:] if piece not in before]
        pieces[at:] = [*before, (name, kind, own), *after]
    return _in_a_row(pieces)


def medians(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each value that all samples have, in the order of the last sample."""
    common = [name for name in samples[-1] if all(name in sample for sample in samples)]
    return {name: median(sample[name] for sample in samples) for name in common}


def of_a_peer(intervals: Mapping[str, float]) -> list[StageTime]:
    """Return the intervals of another library as stages: its imports, its load, its first text."""
    names = _NAMES | _PEER_NAMES
    return _in_a_row([(*names[mark], seconds) for mark, seconds in intervals.items()])


def _shares(watched: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Return by mark the share of its interval that each package, library and tokenizer took."""
    result: list[dict[tuple[str, str], float]] = []
    for run in watched:
        intervals = run.intervals
        parts = {}
        for mark, packages in import_times(run.log).items():
            for package, seconds in packages.items():
                if mark in intervals and not (mark == "spawn" and package == "standard library"):
                    parts[mark, f"import {package}"] = seconds / intervals[mark]
        for part in ("library", "tokenizer"):
            if run.result.get(part):
                mark = next(name for name in ("full", "fast_start") if name in intervals)
                parts[mark, part] = run.result[part] / intervals[mark]
        result.append(parts)
    shares: dict[str, dict[str, float]] = {}
    for key in {key: None for parts in result for key in parts}:
        mark, what = key
        shares.setdefault(mark, {})[what] = median(parts.get(key, 0.0) for parts in result)
    return shares


def _in_a_row(pieces: Sequence[tuple[str, Kind, float]]) -> list[StageTime]:
    """Return consecutive stages; merge neighbours of equal name."""
    stages: list[StageTime] = []
    now = 0.0
    for name, kind, seconds in pieces:
        if stages and stages[-1].name == name:
            stages[-1] = stages[-1]._replace(ms=stages[-1].ms + 1000 * seconds)
        else:
            stages.append(StageTime(name, kind, 1000 * now, 1000 * seconds))
        now += seconds
    return stages
