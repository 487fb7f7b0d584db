from __future__ import annotations

import asyncio
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from benchmarks.curve import write_curves
from benchmarks.figures import tabulate
from benchmarks.load import Job, load
from benchmarks.measure import ChildFailed
from benchmarks.prepare import Workplace
from benchmarks.report import table_lines
from benchmarks.servers import (
    CONFIGS,
    EIGHT_BITS,
    HOTSTART,
    NAMES,
    OPTIMUM,
    SERVERS,
    TORCH,
    Site,
    await_ready,
    check,
    checked_texts,
    free_port,
    infinity_version,
    shown,
)
from benchmarks.service import FIGURES, Asking, Found, Length, as_json, judge

from benchmarks import service

FACTS: dict[str, Any] = {
    "cores": 2,
    "cpu": "a CPU",
    "python": "3.10",
    "infinity": "0.0.78",
    "libraries": {"onnxruntime": "1.22", "hotstart": "0.1.0"},
    "date": "2026-01-01T00:00:00",
}
INFINITY = {"short_rate": 180.0, "short_p99": 0.4, "bulk_rate": 0.5, "bulk_p99": 16.0}


def found(name: str = HOTSTART, **own: float) -> Found:
    """Three rounds in which `name` told `own` and both engines of infinity the same."""
    result = Found()
    for _ in range(3):
        for server, values in {TORCH: INFINITY, OPTIMUM: INFINITY, name: own}.items():
            for figure, value in values.items():
                result.outcome.note(figure, server, value)
    return result


def kept(result: Found) -> list[bool | None]:
    table = tabulate(result.outcome, FIGURES, beside=OPTIMUM)
    return [verdict.kept for verdict in judge(table)]


@pytest.mark.parametrize(("name", "first"), [(HOTSTART, 0), (EIGHT_BITS, 10)])
def test_each_promise_is_judged_by_its_own_figure(name: str, first: int) -> None:
    def judged(**own: float) -> list[bool | None]:
        return kept(found(name, **own))[first : first + 10]

    good = {
        "short_rate": 361.0,
        "short_p99": 0.2,
        "bulk_rate": 1.1,
        "bulk_p99": 8.0,
        "busy_ratio": 3.9,
        "errors": 0.0,
    }
    assert judged(**good) == [True] * 10
    assert judged(**good | {"short_rate": 350.0})[:4] == [False, True, False, True]
    assert judged(**good | {"bulk_p99": 17.0})[4:8] == [True, False, True, False]
    assert judged(**good | {"busy_ratio": 4.1})[8] is False
    assert judged(**good | {"errors": 1.0})[9] is False


def test_what_was_not_measured_is_no_promise_kept() -> None:
    assert kept(Found()) == [False] * 20
    assert kept(found()) == [False] * 20


def test_table_and_json_tell_every_server() -> None:
    result = found(short_rate=400.0)
    result.curves = {HOTSTART: [(20, 19.8, 0.004)]}
    result.errors = {TORCH: ["1 of 9: status 500"]}
    table = tabulate(result.outcome, FIGURES, beside=OPTIMUM)
    lines = "\n".join(table_lines(table, FIGURES, NAMES))
    assert "400 requests/s (2.2×)" in lines
    document = json.loads(json.dumps(as_json(table, result, judge(table), FACTS)))
    assert document["curves"][HOTSTART] == [[20, 19.8, 0.004]]
    assert document["errors"] == {TORCH: ["1 of 9: status 500"]}
    assert len(document["promises"]) == 20


def test_a_picture_is_drawn_of_what_was_found(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = {name: [(20.0, 20.0, 0.01), (30.0, 25.0, 0.4)] for name in NAMES}
    write_curves(tmp_path / "service.png", curves, FACTS)
    assert (tmp_path / "service.png").read_bytes().startswith(b"\x89PNG")
    write_curves(tmp_path / "none.png", {}, FACTS)


def test_commands_are_shown_without_the_paths_of_this_machine(tmp_path: Path) -> None:
    place = Workplace(*[tmp_path / "home" / name for name in (".", "c", "m", "e", "t")])
    configs = dict.fromkeys(CONFIGS, place.home / "h.toml")
    home = Site(place, tmp_path / "env", place.home / "model", configs, [])
    words = [shown(server, home) for server in SERVERS]
    assert str(tmp_path) not in str(words)
    assert words[0][:2] == ["infinity_emb", "v2"]
    assert words[-1][:4] == ["python", "-m", "hotstart", "serve"]


def test_the_version_of_infinity_is_told(tmp_path: Path) -> None:
    (tmp_path / "lib/python3.11/site-packages/infinity_emb-0.0.78.dist-info").mkdir(parents=True)
    assert infinity_version(tmp_path) == "0.0.78"
    assert infinity_version(tmp_path / "none") == "not installed"


@contextmanager
def server(vector: Callable[[int], list[float]]) -> Iterator[int]:
    """A server that gives the text at each index its vector; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer(b"{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            count = len(body["input"]) if isinstance(body["input"], list) else 1
            data = [{"index": n, "embedding": vector(n)} for n in reversed(range(count))]
            self._answer(json.dumps({"data": data}).encode())

        def _answer(self, content: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 512

    listening = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listening.server_address[1]
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_answers_are_compared_with_the_reference() -> None:
    expected = [[1.0, n / 10] for n in range(len(checked_texts()))]
    with server(lambda n: [2.0, n / 5]) as port:
        assert check(port, expected) == pytest.approx(1)
    with server(lambda n: [1.0, -n / 10]) as port, pytest.raises(ChildFailed, match="wrong"):
        check(port, expected)
    with server(lambda n: [1.0]) as port, pytest.raises(ChildFailed, match="not an answer"):
        check(port, expected)


def test_a_server_that_ends_or_stays_away_is_not_waited_for() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    command = [sys.executable, "-S", "-c"]
    ended = subprocess.Popen([*command, "raise SystemExit(3)"])
    with ended, pytest.raises(ChildFailed, match="status 3"):
        await_ready(url, ended)
    deaf = subprocess.Popen([*command, "input()"], stdin=subprocess.PIPE)
    with deaf, pytest.raises(ChildFailed, match=r"not ready within 0\.1 s"):
        await_ready(url, deaf, within=0.1)


class InThisProcess:
    """Stands in for the process of a load generator."""

    returncode = 0

    def __init__(self, job: Job) -> None:
        self._job = job

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Do the job only now, after what is meant to be beside it."""
        return json.dumps(asdict(asyncio.run(load(self._job)))), ""

    def kill(self) -> None:
        """Be ended already."""

    wait = kill


def test_every_part_is_asked_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_start", InThisProcess)
    length = Length(
        warm_up=0.02,
        short=0.05,
        bulk=0.05,
        interactive=0.2,
        step=0.1,
        rates=(50.0, 100.0),
        most_short=300,
        most_bulk=4,
    )
    with server(lambda n: [1.0]) as port:
        asking = Asking(port, length)
        told = asking.figures()
        curve = asking.curve()
    assert asking.errors == []
    named = {figure.key for figure in FIGURES} - {"ready"}
    assert told.keys() == named
    assert told["short_rate"] > 0
    assert curve[0][0] == 50.0
