"""`hotstart serve` in a process of its own, as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx


class Process:
    """A server's process.

    Attributes:
        url: where it is.
        began: when it was started, by `time.perf_counter`.
        listened: seconds until it said that it listens.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, began: float) -> None:
        self.process, self.url, self.began = process, url, began
        self.listened = time.perf_counter() - began

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self.process.pid

    def client(self) -> httpx.Client:
        """Return a client of it."""
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    def wait_for(self, path: str, status: int = 200) -> float:
        """Return when `path` was first answered with `status`, in seconds since the start."""
        with self.client() as client:
            while True:
                if client.get(path).status_code == status:
                    return time.perf_counter() - self.began
                assert time.perf_counter() - self.began < 60
                time.sleep(0.01)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


def command(*arguments: str) -> list[str]:
    """Return the command line of `hotstart serve`."""
    return [sys.executable, "-m", "hotstart", "serve", *arguments]


@contextmanager
def serving(
    folder: Path, config: str, *arguments: str, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Have the models of `config`, a hotstart.toml, served on a free port."""
    (folder / "hotstart.toml").write_text(config, encoding="utf-8")
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command("--port", "0", *arguments),
            cwd=folder,
            stderr=subprocess.PIPE,
            stdout=log,
            text=True,
            env={**os.environ, **(environ or {})},
        )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"hotstart serves on (\S+) \(models: \d+\)", line)
        assert found, line + process.stderr.read()
        yield Process(process, found[1], began)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)
