from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

import pytest
from benchmarks.load import Job, Told, load, percentile, requests
from benchmarks.wire import Answer

JOB = Job(port=1, model="m", seed=1, connections=3, seconds=0.2, most=5000, patience=2.0)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

Handler = Callable[["Served", asyncio.StreamWriter], Awaitable[None]]


class Served:
    """A server of this machine that reads requests and lets `handler` answer them."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections = 0
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                await self.handler(self, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def at_once(served: Served, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


def asked(job: Job, handler: Handler = at_once) -> tuple[Told, Served]:
    served = Served(handler)

    async def run() -> Told:
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await asyncio.wait_for(load(replace(job, port=port)), 10)
        finally:
            server.close()

    return asyncio.run(run()), served


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3
    assert percentile([], 0.5) is None


def test_no_text_is_asked_twice() -> None:
    sent = requests(replace(JOB, most=2000)) + requests(replace(JOB, most=40, batch=64))
    inputs = [json.loads(request.partition(b"\r\n\r\n")[2])["input"] for request in sent]
    texts = inputs[:2000] + [text for batch in inputs[2000:] for text in batch]
    assert len(texts) == 2000 + 40 * 64
    assert len(set(texts)) > 0.999 * len(texts)
    assert len(set(texts[:2000])) == 2000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_answer_is_whole_however_it_is_cut(size: int) -> None:
    answer, whole = Answer(), []
    for start in range(0, len(OK), size):
        whole.append(answer.feed(OK[start : start + size]))
    assert whole == [False] * (len(whole) - 1) + [True]
    assert answer.status == 200


def test_a_closed_loop_keeps_its_connections_and_counts_every_answer() -> None:
    told, served = asked(JOB)
    assert told.errors == 0
    assert told.answers == len(told.latencies) == len(served.bodies) > 30
    assert served.connections == 3
    assert len(set(served.bodies)) == len(served.bodies)


def test_it_ends_early_where_requests_run_out() -> None:
    told, _ = asked(replace(JOB, most=7, seconds=60.0))
    assert (told.answers, told.errors) == (7, 0)


def test_slow_answers_are_timed_and_awaited() -> None:
    async def slowly(served: Served, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(OK)

    told, _ = asked(replace(JOB, seconds=0.1), slowly)
    assert (told.answers, told.errors) == (3, 0)
    assert min(told.latencies) >= 0.14
    assert told.rate <= 3 / 0.14


def test_in_an_open_loop_time_runs_while_every_connection_is_busy() -> None:
    async def slowly(served: Served, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    told, served = asked(replace(JOB, connections=1, rate=100.0, seconds=0.2), slowly)
    assert told.errors == 0
    assert told.answers == len(served.bodies) > 8
    assert max(told.latencies) > 0.05 * (told.answers - 6)  # the last waited for all before it


def test_other_statuses_are_errors() -> None:
    async def failing(served: Served, writer: asyncio.StreamWriter) -> None:
        good = len(served.bodies) % 2
        writer.write(OK if good else OK.replace(b"200 OK", b"503 Not now"))

    told, served = asked(replace(JOB, most=20), failing)
    assert (told.answers, told.errors, told.first_error) == (10, 10, "status 503")
    assert served.connections == 3


def test_a_server_that_closes_is_connected_again() -> None:
    async def closing(served: Served, writer: asyncio.StreamWriter) -> None:
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.close()

    told, served = asked(replace(JOB, most=8, seconds=5.0), closing)
    assert (told.answers, told.errors) == (8, 0)
    assert served.connections >= 8


def test_an_answer_that_breaks_off_is_an_error() -> None:
    async def breaking(served: Served, writer: asyncio.StreamWriter) -> None:
        writer.write(OK if len(served.bodies) > 3 else OK[:-1])
        if len(served.bodies) <= 3:
            writer.close()

    told, _ = asked(replace(JOB, most=9, seconds=5.0), breaking)
    assert (told.answers, told.errors) == (6, 3)
    assert "connection lost" in told.first_error


def test_what_tells_no_length_is_not_understood() -> None:
    async def chunked(served: Served, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")

    told, _ = asked(replace(JOB, most=3), chunked)
    assert (told.answers, told.errors) == (0, 3)
    assert told.first_error == "not understood: an answer without a content-length"


def test_what_is_never_answered_is_counted() -> None:
    async def silent(served: Served, writer: asyncio.StreamWriter) -> None:
        return

    told, _ = asked(replace(JOB, patience=0.1), silent)
    assert (told.answers, told.errors, told.p99) == (0, 3, None)
    assert told.first_error == "unanswered"


def test_as_a_process_it_prints_what_it_found() -> None:
    async def run() -> Told:
        server = await asyncio.start_server(Served(at_once), "127.0.0.1", 0)
        job = replace(JOB, port=server.sockets[0].getsockname()[1], most=9)
        command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(job))]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        server.close()
        return Told(**json.loads(output))

    told = asyncio.run(run())
    assert (told.answers, told.errors) == (9, 0)
