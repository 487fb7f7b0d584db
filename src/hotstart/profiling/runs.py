"""Fresh processes: started one after the other, and what each of them found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, Literal, NamedTuple

from hotstart.errors import HotstartError

Mode = Literal["plain", "imports", "compiled"]

TIMEOUT = 600.0
"""Seconds after which a measured process is given up."""

_REMEDY = "Run it again with hotstart --debug embed --model MODEL TEXT to see more"


class Task(NamedTuple):
    """What a process is to do.

    Attributes:
        subject: `hotstart` or `sentence-transformers`.
        model: a name or a folder.
        strategy: "" for the one that is configured.
        mode: as in `child`.
        pycache: a folder for bytecode in place of those beside the modules.
    """

    subject: str
    model: str
    strategy: str = ""
    mode: Mode = "plain"
    pycache: str | None = None


class Run(NamedTuple):
    """One process that ended well.

    Attributes:
        marks: seconds from its start, in the order they were passed; `first vector` is the last.
        log: what -X importtime and the marks wrote.
        found: the rest of what it told.
    """

    marks: dict[str, float]
    log: str
    found: dict[str, Any]

    @property
    def total(self) -> float:
        """Seconds to the first vector."""
        return self.marks["first vector"]

    @property
    def intervals(self) -> dict[str, float]:
        """Seconds from each mark to the next, by the name of the first; `spawn` is the earliest."""
        names, times = ["spawn", *self.marks], [0.0, *self.marks.values()]
        return {
            name: end - begin for name, begin, end in zip(names, times, times[1:], strict=False)
        }


def start(task: Task) -> Run:
    """Run `task` in a fresh process.

    Raises:
        HotstartError: it failed, for the reason it told.
    """
    began = time.monotonic()  # one clock for all the processes of a machine
    try:
        done = subprocess.run(_command(task), capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise HotstartError(f"No first vector after {TIMEOUT:g} s", _REMEDY) from error
    lines = done.stdout.decode(errors="replace").splitlines()
    log = done.stderr.decode(errors="replace")
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        said = " ".join(log.split())[-300:] or "nothing"
        facts = f"The measured process ended with status {done.returncode} and said: {said}"
        raise HotstartError(facts, _REMEDY) from None
    if "error" in found:
        facts, remedy = found["error"]
        raise HotstartError(facts, remedy or _REMEDY)
    marks = {name: when - began for name, when in found.pop("marks")}
    return Run(marks, log, found)


def _command(task: Task) -> list[str]:
    options = ["-X", "importtime"] if task.mode == "imports" else []
    if task.pycache is not None:
        options += ["-X", f"pycache_prefix={task.pycache}"]
    with open(os.path.join(os.path.dirname(__file__), "child.py"), encoding="utf-8") as file:
        program = file.read()
    arguments = [task.subject, task.model, task.strategy, task.mode]
    return [sys.executable, *options, "-c", program, *arguments]
