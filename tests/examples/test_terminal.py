"""The terminal program as a process of its own, with typed input."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest
from examples.interview_bot.reference import load_points

from support.waiting import wait_until

DATABASES = "I moved our orders into PostgreSQL and spent a week on the indexes of one table."
QUICK = "fake:dimension=384"


class Program:
    """The running program; `says` waits for what it prints, `type` types a line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        self._lines: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def type(self, line: str) -> float:
        """Type `line`, and return the time of doing so."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return time.monotonic()

    def says(self, part: str, within: float = 30) -> str:
        """The next line with `part`."""
        deadline = time.monotonic() + within
        seen = ""
        while part not in seen.rpartition("\n")[2]:
            try:
                seen += "\n" + self._lines.get(timeout=deadline - time.monotonic()).rstrip("\n")
            except (Empty, ValueError):
                pytest.fail(f"did not say {part!r} within {within} s, but:{seen}\n{self.log}")
        return seen.rpartition("\n")[2]

    def ends(self, within: float = 15) -> tuple[int, str]:
        """Wait for the end: the exit status, and what was written to standard error."""
        assert self.process.stderr is not None
        status = self.process.wait(within)
        return status, self.process.stderr.read()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""


@contextlib.contextmanager
def running(
    checkout: Path, environment: dict[str, str], log: Path, *options: str
) -> Iterator[Program]:
    command = [sys.executable, "-m", "examples.interview_bot", "terminal", "--log", str(log)]
    with subprocess.Popen(
        [*command, *options],
        cwd=checkout,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Program(process, log)
        finally:
            process.kill()


def test_a_whole_interview_with_the_real_model(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with running(
        checkout, environment, tmp_path / "log", "--questions", "3", "--timeout", "60"
    ) as program:
        program.says("What is your name?")
        program.type("")
        program.says("What shall I call you?")
        program.type("Ada")
        assert program.says("(1/3)") == (
            "(1/3) What is the piece of work you are proudest of, and what was your own part in it?"
        )
        wait_until(lambda: "the reference points are in Qdrant" in program.log)
        program.type(DATABASES)
        assert program.says("(2/3)").startswith("(2/3) On databases: ")
        program.type("My cat sleeps all day.")
        assert not program.says("(3/3)").startswith("(3/3) On ")
        program.type("That is all.")
        assert "Thank you, Ada. We spoke about projects, databases, " in program.says("last")
        assert program.ends() == (0, "")
        assert "asking with context on databases" in program.log
        assert "asking without context: no point is near the answer" in program.log


def test_a_load_of_ten_seconds(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """Greeted at once, asked without context in time, and with context once the model is there."""
    slow = "fake:dimension=384,load_seconds=10"
    # This model's vectors mean nothing, but one text has one vector: say a point's own words.
    points = load_points()
    started = time.monotonic()
    with running(
        checkout, environment, tmp_path / "log", "--questions", "10", "--model", slow
    ) as program:
        program.says("What is your name?", within=5)
        program.type("Ada")
        program.says("(1/10)", within=5)
        program.type(points[0].text)
        second = program.says("(2/10)", within=6)
        assert not second.startswith("(2/10) On ")
        assert time.monotonic() - started < 9  # so it was not the model's load that was awaited
        number = 2
        while number < 10 and "asking with context" not in program.log:
            program.type(points[number].text)
            number += 1
            question = program.says(f"({number}/10)", within=6)
        assert question.startswith(f"({number}/10) On {points[number - 1].topic}: ")
        assert points[number - 1].question in question
        assert program.log.count("asking without context: the model is not ready") >= 1
        # Not ended here but killed: at its end hotstart waits for a load that is under way.


def test_stop_and_start_again(checkout: Path, environment: dict[str, str], tmp_path: Path) -> None:
    with running(checkout, environment, tmp_path / "log", "--model", QUICK) as program:
        program.says("What is your name?")
        program.type("Ada")
        program.says("Ada")
        program.type("/start")
        program.says("What is your name?")
        program.type("Grace")
        program.says("Nice to meet you, Grace.")
        program.type("/stop")
        program.says("Stopped. Thank you, Grace.")
        assert program.ends() == (0, "")


def test_the_end_of_the_input_ends_the_interview(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with running(checkout, environment, tmp_path / "log", "--model", QUICK) as program:
        program.says("What is your name?")
        assert program.process.stdin is not None
        os.write(program.process.stdin.fileno(), b"Ad\xff\n")  # no UTF-8
        program.process.stdin.close()
        program.says("Nice to meet you, Ad\N{REPLACEMENT CHARACTER}.")
        program.says("Stopped.")
        assert program.ends() == (0, "")


def test_control_d_on_a_real_terminal(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "examples.interview_bot", "terminal", "--model", QUICK]
    with subprocess.Popen(
        [*command, "--log", str(tmp_path / "log")],
        cwd=checkout,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        screen = _until(ours, b"> ")
        os.write(ours, b"Ada\n")
        screen += _until(ours, b"own part in it?\r\n> ")
        os.write(ours, b"\x04")
        screen += _until(ours, b"We spoke about projects.\r\n")
        assert process.wait(60) == 0
    os.close(ours)
    assert screen.count(b"> ") == 2
    assert b"WARNING" not in screen


def _until(terminal: int, part: bytes) -> bytes:
    """What appears on the terminal up to and with `part`."""
    seen = b""
    while part not in seen:
        seen += os.read(terminal, 1024)
    return seen


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("./there-is-no-model-here", "the embedding failed"),
        ("fake:dimension=384,fail_loads=99,fail_message=torn weights", "torn weights"),
    ],
)
def test_a_model_that_fails(
    model: str, reason: str, checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with running(checkout, environment, tmp_path / "log", "--model", model) as program:
        program.type("Ada")
        program.says("(1/6)")
        answered = program.type(DATABASES)
        question = program.says("(2/6)")
        assert time.monotonic() - answered < 6
        assert not question.startswith("(2/6) On ")
        program.type("/stop")
        assert program.ends() == (0, "")
        assert "asking without context: " in program.log
        assert reason in program.log


def test_a_qdrant_server_that_is_not_there(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with running(checkout, environment, tmp_path / "log", "--qdrant", url) as program:
            program.type("Ada")
            program.says("(1/6)")
            wait_until(lambda: "the reference points are not in Qdrant" in program.log)
            program.type(DATABASES)
            assert not program.says("(2/6)", within=60).startswith("(2/6) On ")
            program.type("/stop")
            assert program.ends() == (0, "")
            assert "asking without context: the retrieval failed" in program.log


def test_a_name_that_no_model_can_have(
    checkout: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with running(checkout, environment, tmp_path / "log", "--model", "") as program:
        status, errors = program.ends()
    assert status == 2
    assert errors.startswith("source must be a folder")
    assert "Traceback" not in errors
