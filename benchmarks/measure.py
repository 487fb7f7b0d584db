"""A fresh process, timed from outside, with its peak memory; and what is made of the samples."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 600.0
_STDERR_KEPT = 4000
_LAUNCHER = Path(__file__).with_name("launcher.py").resolve()


@dataclass(frozen=True)
class Run:
    """What one child did.

    Attributes:
        seconds: from just before it was spawned until its last output had come, which is its
            answer: what a library may print before does not count.
        peak_bytes: its largest resident set, from the kernel's account of it.
        output: all it printed.
    """

    seconds: float
    peak_bytes: int
    output: str


class ChildFailed(Exception):
    """A child that ended badly or said nothing; the message is its standard error."""


def spawn(program: str, env: Mapping[str, str], folder: Path, timeout: float = TIMEOUT) -> Run:
    """Run `program` in a fresh interpreter in `folder` and measure it.

    Raises:
        ChildFailed: it exited with an error, printed nothing or had to be killed.
    """
    launcher = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=dict(env),
        start_new_session=True,  # so that a timeout ends the launcher's child with it
    )
    try:
        stdout, stderr = launcher.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(launcher.pid, signal.SIGKILL)
        launcher.communicate()
        raise ChildFailed(f"killed after {timeout:g} s") from None
    error = anonymous(stderr.decode(errors="replace")[-_STDERR_KEPT:])
    header, _, output = stdout.decode().partition("\n")
    if launcher.returncode != 0:
        raise ChildFailed(error)
    seconds, peak, status = header.split()
    if status != "0" or not output:
        raise ChildFailed(f"exit status {status}\n{error}")
    return Run(float(seconds), int(peak), output)


def child_environment(cache: Path) -> dict[str, str]:
    """Return the environment of every child: compiled bytecode used, `cache` for all caches.

    The cache is moved by XDG_CACHE_HOME and not by HOTSTART_CACHE_DIR, because the latter would
    spare hotstart the look for its default folder that a user's process makes.
    """
    env = dict(os.environ)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "HOTSTART_CACHE_DIR"):
        env.pop(name, None)
    env["XDG_CACHE_HOME"] = str(cache)
    env["FASTEMBED_CACHE_PATH"] = str(cache / "fastembed")
    env["HF_HUB_OFFLINE"] = "1"  # all files are here: nobody may wait for the network
    return env


def anonymous(text: str) -> str:
    """Return `text` without the paths of this machine, so that it can be published."""
    folders = {sys.prefix: "<environment>", str(Path.cwd()): "<checkout>", str(Path.home()): "~"}
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(folder, folders[folder])
    return text


@dataclass(frozen=True)
class Summary:
    """Samples of one figure."""

    median: float
    least: float
    greatest: float
    samples: tuple[float, ...]


def summary(samples: Sequence[float]) -> Summary:
    """Return the median and the range of `samples`, of which there is at least one."""
    return Summary(statistics.median(samples), min(samples), max(samples), tuple(samples))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the cosine between two vectors that are not zero."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    squares = sum(x * x for x in a) * sum(y * y for y in b)
    return float(dot / squares**0.5)
