"""Prefetches: the newest first, the stale dropped, each fetched once, all of it counted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, wait
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hotstart.cache.prefetch import MOST_WAITING, Prefetcher, PrefetchInfo, PrefetchRequest
from hotstart.telemetry import HistogramSnapshot


class Stage:
    """Fetches that wait until they are let go; notes what ran."""

    def __init__(self, threads: int = 1) -> None:
        self.prefetcher = Prefetcher(threads)
        self.ran: list[str] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def prefetch(self, text: str, supersedes: str | None = None, namespace: str = "") -> None:
        stale = None if supersedes is None else PrefetchRequest(supersedes, "")
        self.prefetcher.prefetch(PrefetchRequest(text, ""), self.fetch(text), namespace, stale)

    def fetch(self, text: str) -> Callable[[], None]:
        def run() -> None:
            self.ran.append(text)
            self.begun.release()
            assert self.go.acquire(timeout=60)

        return run

    def ready(self, text: str) -> Any:
        return self.prefetcher.ready(PrefetchRequest(text, ""))

    def asked(self, text: str) -> None:
        self.prefetcher.note_use(PrefetchRequest(text, ""))

    def until_running(self) -> None:
        assert self.begun.acquire(timeout=60)

    def finish(self, *texts: str) -> None:
        ends = [end for end in map(self.ready, texts) if end]
        self.go.release(len(texts))
        assert not wait(ends, 20).not_done


def test_the_newest_goes_first_and_each_is_fetched_once() -> None:
    stage = Stage()
    stage.prefetch("first")
    stage.until_running()
    for text in ("a", "b", "a", "first", "c"):
        stage.prefetch(text)
    stage.finish("first", "a", "b", "c")
    assert stage.ran == ["first", "c", "b", "a"]
    assert stage.prefetcher.info().requested == 4


def test_what_is_superseded_and_still_waits_never_runs() -> None:
    stage = Stage()
    stage.prefetch("busy")
    stage.until_running()
    stage.prefetch("how do")
    stale = stage.ready("how do")
    stage.prefetch("how do I", supersedes="how do")
    stage.prefetch("how do I reset", supersedes="how do I")
    assert stale.cancelled()
    stage.finish("busy", "how do I reset")
    assert stage.ran == ["busy", "how do I reset"]
    assert stage.prefetcher.info().superseded == 2


def test_what_is_superseded_while_it_runs_is_wasted_unless_asked_for() -> None:
    stage = Stage(threads=2)
    for text in ("wasted", "wanted"):
        stage.prefetch(text)
        stage.until_running()
    stage.asked("wanted")
    stage.prefetch("longer", supersedes="wasted")
    stage.prefetch("longer", supersedes="wanted")
    stage.finish("wasted", "wanted", "longer")
    info = stage.prefetcher.info()
    assert (info.used, info.wasted, info.superseded) == (1, 1, 0)


def test_under_pressure_the_oldest_is_dropped() -> None:
    stage = Stage()
    stage.prefetch("busy")
    stage.until_running()
    texts = [f"text {number}" for number in range(MOST_WAITING + 3)]
    stage.prefetch(texts[0])
    dropped = stage.ready(texts[0])
    for text in texts[1:]:
        stage.prefetch(text)
    assert dropped.cancelled()
    with pytest.raises(CancelledError):
        dropped.result(0)
    stage.finish("busy", *texts[3:])
    assert stage.ran[1:] == texts[:2:-1]
    assert stage.prefetcher.info().dropped == 3


def test_a_question_before_its_turn_takes_the_text_out_of_the_queue() -> None:
    stage = Stage()
    stage.prefetch("busy")
    stage.until_running()
    stage.prefetch("late")
    stage.asked("late")
    stage.finish("busy")
    info = stage.prefetcher.info()
    assert (info.late, info.used, info.waiting) == (1, 0, 0)


def test_a_failure_is_told_to_who_waits_and_counted() -> None:
    prefetcher = Prefetcher(1)
    going = threading.Event()

    def fail() -> None:
        assert going.wait(60)
        raise RuntimeError("no vector")

    prefetcher.prefetch(PrefetchRequest("text", ""), fail)
    end = prefetcher.ready(PrefetchRequest("text", ""))
    going.set()
    assert end is not None
    assert isinstance(end.exception(60), RuntimeError)
    assert prefetcher.info().failed == 1
    assert prefetcher.ready(PrefetchRequest("text", "")) is None


def test_a_question_counts_one_prefetch_once() -> None:
    stage = Stage()
    stage.prefetch("text")
    stage.finish("text")
    for _ in range(3):
        stage.asked("text")
    assert stage.prefetcher.info().used == 1


def test_figures_are_told_by_outcome_and_namespace() -> None:
    stage = Stage()
    stage.prefetch("one", namespace="kb1")
    stage.finish("one")
    stage.prefetch("two", namespace="kb2")
    stage.finish("two")
    stage.asked("two")
    metrics = list(stage.prefetcher.metrics())
    told = {(f.labels["outcome"], f.labels["namespace"]): f.value for f in metrics[:-1]}
    assert told == {("requested", "kb1"): 1, ("requested", "kb2"): 1, ("used", "kb2"): 1}
    assert isinstance(metrics[-1].value, HistogramSnapshot)
    assert metrics[-1].value.total == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_begins_anew() -> None:
    stage = Stage()
    stage.prefetch("in the parent")
    stage.until_running()
    child = os.fork()
    if not child:
        fetched = threading.Event()
        stage.prefetcher.prefetch(PrefetchRequest("in the child", ""), fetched.set)
        os._exit(0 if fetched.wait(60) and stage.prefetcher.info().requested == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stage.finish("in the parent")


def outcomes(info: PrefetchInfo) -> tuple[int, ...]:
    return info[1:]


TEXTS = st.sampled_from("abcdefgh")


class Account(RuleBasedStateMachine):
    """However texts come, go stale and are asked for: each prefetch has one outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(threads=2)

    @rule(text=TEXTS, stale=st.none() | TEXTS)
    def prefetch(self, text: str, stale: str | None) -> None:
        self.stage.prefetch(text, supersedes=stale)

    @rule(text=TEXTS)
    def ask(self, text: str) -> None:
        self.stage.asked(text)

    @rule()
    def let_one_end(self) -> None:
        self.stage.go.release()

    @invariant()
    def every_prefetch_is_somewhere(self) -> None:
        info = self.stage.prefetcher.info()
        assert info.running <= 2
        used_while_running = sum(outcomes(info)) - info.requested
        assert 0 <= used_while_running <= info.running

    def teardown(self) -> None:
        self.stage.go.release(1000)
        ends = [end for end in map(self.stage.ready, "abcdefgh") if end]
        assert not wait(ends, 20).not_done
        info = self.stage.prefetcher.info()
        assert info.waiting == info.running == 0
        assert sum(outcomes(info)) == info.requested


TestAccount = Account.TestCase
TestAccount.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
