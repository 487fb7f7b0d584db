"""Load for a server of embeddings, from a process of its own: `python -m benchmarks.load JOB`.

On two cores that the server shares, what asks must cost next to nothing: requests are encoded
before the clock starts, and of an answer no more is read than its status and its length.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import math
import random
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.texts import passages, short_texts
from benchmarks.wire import Connection, encoded

PATIENCE = 60.0
"""Seconds to wait for what is still unanswered when no more is asked."""
_AGAIN = 0.05
"""Seconds until a connection is tried again where nobody listens."""
_RESTS = 2.0
"""Seconds a connection is kept while nothing is asked on it; less than any server keeps it."""


@dataclass(frozen=True)
class Job:
    """What is to be asked, and how.

    Attributes:
        seed: of the texts; another one for each job, so that no text is ever asked twice.
        batch: texts of a request; 1 is a short text, more are passages of about 120 tokens.
        seconds: for how long requests are sent; those under way then are still awaited.
        rate: requests a second, sent when they are due whatever has been answered (an open loop);
            None sends the next when its connection has been answered (a closed loop).
        most: requests made ready at most; the job ends early where they run out.
    """

    port: int
    model: str
    seed: int
    connections: int
    seconds: float
    batch: int = 1
    rate: float | None = None
    most: int = 20_000
    path: str = "/v1/embeddings"
    patience: float = PATIENCE


@dataclass(frozen=True)
class Told:
    """What a job found; times in seconds.

    Attributes:
        rate: answers a second, from the first request to the last answer.
        errors: requests without a whole answer of status 200.
    """

    answers: int
    errors: int
    rate: float
    p50: float | None
    p99: float | None
    latencies: list[float]
    first_error: str = ""


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the least of `values` that `share` of them do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def requests(job: Job) -> list[bytes]:
    """Return the requests of `job` as they go over the wire, each with other texts."""
    count = job.most if job.rate is None else min(job.most, math.ceil(job.rate * job.seconds))
    if job.batch == 1:
        inputs: list[object] = [*short_texts(job.seed, count)]
    else:
        texts = passages(job.seed, count * job.batch)
        inputs = [texts[n : n + job.batch] for n in range(0, len(texts), job.batch)]
    return [encoded(job.port, job.path, {"model": job.model, "input": given}) for given in inputs]


class Load:
    """One job under way: who is idle, what is due, what was found."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._left = deque(requests(job))
        self._due: deque[float] = deque()  # in an open loop, longer while all are busy
        self._all: list[Connection] = []
        self._idle: list[Connection] = []
        self._busy = 0
        self._stop = False
        self._still = asyncio.Event()
        self._mending: set[asyncio.Task[None]] = set()
        self._latencies: list[float] = []
        self._errors: list[str] = []
        self._start = self._last = 0.0

    async def run(self) -> Told:
        """Ask, await what is under way, and return what was found."""
        count = self._job.connections
        await asyncio.gather(*(self._open() for _ in range(count)))
        self._start = self._last = time.perf_counter()
        if self._job.rate is None:
            self._due.extend([self._start] * count)
            self._send()
            await self._stillness(self._job.seconds)
            self._due.clear()
        else:
            await self._send_when_due(self._job.rate)
        self._stop = True
        if self._busy or self._due:
            self._still.clear()
            await self._stillness(self._job.patience)
        self._errors += ["unanswered"] * (self._busy + len(self._due))
        self._due.clear()
        told = self._told()
        for task in self._mending:
            task.cancel()
        for connection in self._all:
            connection.close()
        return told

    async def _open(self) -> None:
        """Make one more connection, which is idle."""
        connection = Connection(self._ended)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: connection, "127.0.0.1", self._job.port)
        connection.rests_since = time.perf_counter()
        self._all.append(connection)
        self._idle.append(connection)

    async def _stillness(self, seconds: float) -> None:
        """Wait until nothing is left to do, `seconds` at most."""
        try:
            await asyncio.wait_for(self._still.wait(), seconds)
        except asyncio.TimeoutError:
            return

    async def _send_when_due(self, rate: float) -> None:
        """Arrivals of a Poisson process, the same for every server asked with this seed."""
        gaps = random.Random(self._job.seed)
        due = self._start
        for _ in range(len(self._left)):
            due += gaps.expovariate(rate)
            if due > self._start + self._job.seconds:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self._due.append(due)
            self._send()

    def _send(self) -> None:
        """Ask what is due on the connections that are idle."""
        while self._due and self._left:
            connection = self._next()
            if connection is None:
                return
            self._busy += 1
            connection.ask(self._left.popleft(), self._due.popleft())
        if not self._busy:
            self._due.clear()
            self._still.set()

    def _next(self) -> Connection | None:
        """The idle connection that rested least; others take the place of those that are no use.

        What rests long is closed from this side: a server would do so too, perhaps just when the
        next request is on its way.
        """
        oldest = time.perf_counter() - _RESTS
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.rests_since > oldest:
                return connection
            connection.close()
            task = asyncio.create_task(self._replace())
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)
        return None

    async def _replace(self) -> None:
        while True:
            try:
                await self._open()
            except OSError:  # nobody listens; what stays unanswered is counted at the end
                await asyncio.sleep(_AGAIN)
                continue
            self._send()
            return

    def _ended(self, connection: Connection, error: str) -> None:
        now = time.perf_counter()
        self._busy -= 1
        if error:
            self._errors.append(error)
        else:
            self._latencies.append(now - connection.due)
            self._last = now
        connection.rests_since = now
        self._idle.append(connection)
        if self._job.rate is None and not self._stop:
            self._due.append(now)
        self._send()

    def _told(self) -> Told:
        took, count = self._last - self._start, len(self._latencies)
        return Told(
            answers=count,
            errors=len(self._errors),
            rate=count / took if took else 0.0,
            p50=percentile(self._latencies, 0.5),
            p99=percentile(self._latencies, 0.99),
            latencies=self._latencies,
            first_error=self._errors[0] if self._errors else "",
        )


async def load(job: Job) -> Told:
    """Do `job` and return what was found."""
    return await Load(job).run()


def main() -> None:
    """Do the job that is given as JSON, and print what was found as JSON.

    Nothing is collected meanwhile: a job is short, and a pause of its own would be told as the
    server's.
    """
    job = Job(**json.loads(sys.argv[1]))
    gc.disable()
    try:
        told: Told = importlib.import_module("uvloop").run(load(job))
    except ImportError:
        told = asyncio.run(load(job))
    print(json.dumps(asdict(told)))


if __name__ == "__main__":
    main()
