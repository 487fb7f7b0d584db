"""Dynamic batching: calls that arrive together run together, in two lanes.

call ──submit──▶ lane ──next run (pure: lanes.py)──▶ the engine, once ──▶ each call its vectors

A call starts a thread if none is idle; a thread ends when no call came for a while.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from typing import NamedTuple

from hotstart.concurrency import IdleThreads, reset_after_fork
from hotstart.errors import Overloaded
from hotstart.pool.instance import Instance
from hotstart.pool.loader import LoadedModel
from hotstart.telemetry import Counters, Histogram, Metric, here, past
from hotstart.types import EmbedOutput, ModelInfo, ModelRequest, TextOrPair

_CHARACTERS = 4  # characters of an English token, on average
_SPECIAL = 2  # special tokens of a text
_LONGEST = 512  # tokens at which most models truncate a text


class Lane(NamedTuple):
    """The settings of one queue of a model.

    Attributes:
        name: the name of the lane.
        most_texts: maximal number of texts of a call.
        most_tokens: approximate maximal number of tokens of a call.
        run: approximate tokens of one run; a single text may exceed them.
        room: approximate maximal number of waiting tokens.
        threads: concurrent runs. Two threads on OpenVINO give 27 % more short texts a second
            than one.
    """

    name: str
    most_texts: float
    most_tokens: float
    run: int
    room: int
    threads: int = 2


LANES = (
    Lane("interactive", most_texts=8, most_tokens=512, run=1024, room=128 * 1024),
    Lane("bulk", most_texts=float("inf"), most_tokens=float("inf"), run=4096, room=1024 * 1024),
)
"""A call takes the first that it fits. A run of bulk work is what keeps two cores busy for a third
of a second: the engine packs it by length, and between two runs what nobody awaits is dropped."""


class RunShare(NamedTuple):
    """Texts [start, stop) of call number `call` in the next run."""

    call: int
    start: int
    stop: int


def estimated_tokens(text: str | tuple[str, str]) -> int:
    """Return the estimated number of tokens of a text or a pair of texts."""
    characters = len(text) if isinstance(text, str) else len(text[0]) + len(text[1])
    return min(characters // _CHARACTERS + _SPECIAL, _LONGEST)


def lane_for(texts: int, tokens: int) -> Lane:
    """Return the lane of a call with so many texts and estimated tokens."""
    return next(lane for lane in LANES if texts <= lane.most_texts and tokens <= lane.most_tokens)


def next_run(queue: Iterable[tuple[Sequence[int], int]], budget: int) -> list[RunShare]:
    """Return the texts of the next run, in order of arrival: at least one, up to `budget` tokens.

    A call may be split between runs.

    Args:
        queue: for each call, the estimated tokens of its texts and the number of texts that ran.
        budget: maximal number of tokens.
    """
    shares: list[RunShare] = []
    left = budget
    for number, (tokens, begun) in enumerate(queue):
        stop = begun
        while stop < len(tokens) and (tokens[stop] <= left or left == budget):
            left -= tokens[stop]
            stop += 1
        if stop > begun:
            shares.append(RunShare(number, begun, stop))
        if stop < len(tokens):
            break
    return shares


class CallPart(NamedTuple):
    """Texts [start, stop) of a pending call, and the attempt they belong to."""

    call: PendingCall
    start: int
    stop: int
    attempt: int


class PendingCall:
    """A request that waits for its vectors in `future`; a cancelled request is not run."""

    def __init__(self, request: ModelRequest) -> None:
        self.future: Future[EmbedOutput] = Future()
        self.tokens = [estimated_tokens(text) for text in request.inputs]
        self.weight = sum(self.tokens)
        self.begun = 0
        self.request = request
        self.queued_at = time.time_ns()
        self.within = here()
        self.attempt = 0
        self._parts: dict[int, EmbedOutput] = {}
        self._inputs: Sequence[TextOrPair] | None = None
        self._inputs_of = ""

    def model_inputs(self, info: ModelInfo) -> Sequence[TextOrPair]:
        """Return the inputs as the model of `info` reads them, computed once per call."""
        if self._inputs is None or self._inputs_of != info.fingerprint:
            self._inputs = self.request.model_inputs(info)
            self._inputs_of = info.fingerprint
        return self._inputs

    def take(self, part: CallPart, output: EmbedOutput) -> bool:
        """Store the vectors of a run and resolve the future when all are there; one thread at a
        time.

        Return false if an earlier run had another vector space: the model was reloaded between two
        runs, and the whole call must run again.
        """
        if part.attempt != self.attempt:
            return True  # of an abandoned attempt
        before = next(iter(self._parts.values()), output)
        if before.info.fingerprint != output.info.fingerprint:
            self._parts = {}
            self.begun = 0
            self.attempt += 1
            return False
        self._parts[part.start] = output
        if sum(each.texts for each in self._parts.values()) == len(self.tokens):
            self._resolve(EmbedOutput.joined([each for _, each in sorted(self._parts.items())]))
        return True

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the caller."""
        with suppress(InvalidStateError):  # no caller waits any more
            self.future.set_exception(error)

    def _resolve(self, output: EmbedOutput) -> None:
        with suppress(InvalidStateError):
            self.future.set_result(output)

    def trace(self, began: int, entered: int, engine: str, texts: int) -> None:
        """Record a run as spans of the caller's trace: queue, batch, engine. Times are ns since
        the epoch.
        """
        if self.within is not None:
            ended = time.time_ns()
            past("queue", self.queued_at, began, self.within)
            run = past("batch", began, ended, self.within, texts=texts)
            past("engine", entered, ended, run, engine=engine)


Lease = Callable[[float | None, int], AbstractContextManager[LoadedModel]]

_IDLE_SECONDS = 10.0  # seconds without calls after which a thread ends
_FIRST_RATE = 5000.0  # tokens a second, before the first measured run
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class LaneQueue:
    """The pending calls of one lane of one model. Thread-safe."""

    def __init__(self, name: str, lane: Lane, lease: Lease) -> None:
        self._name = name
        self._lane = lane
        self._lease = lease
        self._threads = IdleThreads("hotstart-lane", lane.threads, _IDLE_SECONDS)
        self._changed = self._threads.changed
        self._calls: deque[PendingCall] = deque()
        self._waiting = 0  # tokens
        self._running = 0  # texts
        self._rate = _FIRST_RATE
        self._tally = Counters()
        self._waits = Histogram()
        self._sizes = Histogram(_SIZES)

    def put(self, call: PendingCall) -> None:
        """Queue `call`; it runs together with other waiting calls.

        Raises:
            Overloaded: too many tokens wait already.
        """
        with self._changed:
            if self._waiting + call.weight > self._lane.room and self._waiting:
                self._tally.add("refused")
                after = max(1.0, self._waiting / self._rate)
                waiting = self._waiting
                raise Overloaded(
                    self._name, lane=self._lane.name, tokens=waiting, retry_after=after
                )
            self._threads.wake(self._serve)
            self._calls.append(call)
            self._waiting += call.weight

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of the lane."""
        labels = {"lane": self._lane.name}
        now = {
            "waiting": ("Calls that wait", len(self._calls)),
            "waiting_tokens": ("Tokens that wait, about", self._waiting),
            "running": ("Texts that are run at this moment", self._running),
        }
        for name, (text, value) in now.items():
            yield Metric(f"hotstart_queue_{name}", "gauge", text, value, labels)
        for name, text in _COUNTED.items():
            yield Metric(f"hotstart_queue_{name}_total", "counter", text, self._tally[name], labels)
        waits = self._waits.read()
        sizes = self._sizes.read()
        yield Metric(
            "hotstart_queue_wait_seconds", "histogram", "Time to a call's first run", waits, labels
        )
        yield Metric("hotstart_queue_run_texts", "histogram", "Texts run together", sizes, labels)

    def _serve(self) -> None:
        while run := self._next():
            began = time.perf_counter()
            self._run(run)
            weight = sum(sum(part.call.tokens[part.start : part.stop]) for part in run)
            seconds = max(time.perf_counter() - began, 1e-6)
            with self._changed:
                self._running -= _size(run)
                self._rate += 0.2 * (weight / seconds - self._rate)

    def _next(self) -> list[CallPart]:
        """Wait for calls and return the next run; nothing after a while without calls."""
        with self._changed:
            if not self._threads.wait_for_work(self._has_calls):
                return []
            waiting = ((call.tokens, call.begun) for call in self._calls)
            run = [self._begin(*share) for share in next_run(waiting, self._lane.run)]
            while self._calls and self._calls[0].begun == len(self._calls[0].tokens):
                self._calls.popleft()
            size = _size(run)
            self._running += size
            self._sizes.observe(size)
            return run

    def _has_calls(self) -> bool:
        self._drop_unawaited()
        return bool(self._calls)

    def _begin(self, number: int, start: int, stop: int) -> CallPart:
        call = self._calls[number]
        if start == 0:
            self._waits.observe((time.time_ns() - call.queued_at) / 1e9)
        call.begun = stop
        self._waiting -= sum(call.tokens[start:stop])
        return CallPart(call, start, stop, call.attempt)

    def _drop_unawaited(self) -> None:
        """Drop calls that timed out or whose caller was cancelled."""
        if any(call.future.done() for call in self._calls):
            kept = deque(call for call in self._calls if not call.future.done())
            self._tally.add("dropped", len(self._calls) - len(kept))
            self._calls = kept
            self._count_waiting()

    def _count_waiting(self) -> None:
        self._waiting = sum(sum(call.tokens[call.begun :]) for call in self._calls)

    def _run(self, run: Sequence[CallPart]) -> None:
        """Run all parts together; if that fails, run each alone to isolate the failure."""
        try:
            outputs = self._embed(run)
        except CancelledError:
            self._tally.add("dropped", len(run))
            return
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            if len(run) > 1:
                for part in run:
                    self._run([part])
            else:
                run[0].call.fail(error)
            return
        for part, output in zip(run, outputs, strict=True):
            self._tally.add("texts", part.stop - part.start)
            with self._changed:
                if not part.call.take(part, output):
                    self._put_back(part.call)
            if part.call.future.done():
                self._tally.add("calls")

    def _embed(self, run: Sequence[CallPart]) -> list[EmbedOutput]:
        """Run the parts as one batch; each part gets its rows and its tokens."""
        began = time.time_ns()
        with self._lease(None, _size(run)) as model:
            inputs: list[TextOrPair] = []
            for part in run:
                inputs += part.call.model_inputs(model.info)[part.start : part.stop]
            entered = time.time_ns()
            output = model.engine.embed(
                inputs, is_cancelled=lambda: all(part.call.future.done() for part in run)
            )
        for part in run:
            part.call.trace(began, entered, model.engine.name, len(inputs))
        return [output.part(texts, model.info) for texts in _rows(run)]

    def _put_back(self, call: PendingCall) -> None:
        """Queue the whole call again."""
        if call not in self._calls:
            self._calls.appendleft(call)
        self._count_waiting()
        self._changed.notify()


_COUNTED = {
    "calls": "Calls that were answered",
    "texts": "Texts that were run",
    "refused": "Calls refused because too much waited",
    "dropped": "Calls not run because nobody awaited them any more",
}


class Lanes:
    """The queues of one model."""

    def __init__(self, instance: Instance[LoadedModel]) -> None:
        # A weak reference: the instance owns its lanes.
        reference = weakref.ref(instance)

        def lease(timeout: float | None, texts: int) -> AbstractContextManager[LoadedModel]:
            living = reference()
            assert living is not None, "who waits for a model holds it"
            return living.lease(timeout, texts)

        self._queues = {lane.name: LaneQueue(instance.name, lane, lease) for lane in LANES}

    def submit(self, request: ModelRequest) -> Future[EmbedOutput]:
        """Queue the inputs of `request`. Raises Overloaded."""
        call = PendingCall(request)
        self._queues[lane_for(len(request.inputs), call.weight).name].put(call)
        return call.future

    def metrics(self) -> Iterator[Metric]:
        """Yield the metrics of each lane."""
        for queue in self._queues.values():
            yield from queue.metrics()


def _rows(run: Sequence[CallPart]) -> Iterator[slice]:
    """Return the rows of each part in the vectors of a run."""
    end = 0
    for part in run:
        begin, end = end, end + part.stop - part.start
        yield slice(begin, end)


def _size(run: Sequence[CallPart]) -> int:
    return sum(part.stop - part.start for part in run)


class _InstanceLanes:
    """The lanes of each instance; all callers of an instance share them."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """Reset in a forked child: threads and callers exist in the parent only."""
        self._lock = threading.Lock()
        self._lanes: weakref.WeakKeyDictionary[Instance[LoadedModel], Lanes] = (
            weakref.WeakKeyDictionary()
        )

    def get(self, instance: Instance[LoadedModel]) -> Lanes:
        lanes = self._lanes.get(instance)
        if lanes is None:
            with self._lock:
                lanes = self._lanes.setdefault(instance, Lanes(instance))
        return lanes


_instance_lanes = _InstanceLanes()


def lanes_of(instance: Instance[LoadedModel]) -> Lanes:
    """Return the lanes of the model of `instance`, which all callers share."""
    return _instance_lanes.get(instance)
