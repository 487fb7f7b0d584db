"""The circuit breaker, against what its drawing says."""

from __future__ import annotations

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hotstart.concurrency import CircuitBreaker

THRESHOLD, COOLDOWN, LONGEST = 3, 2.0, 9.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(THRESHOLD, COOLDOWN, LONGEST, clock)


def state(circuit: CircuitBreaker) -> str:
    return circuit.state


def break_it(circuit: CircuitBreaker) -> None:
    for _ in range(THRESHOLD):
        assert circuit.allows()
        circuit.failed()


def test_failures_in_a_row_open_it_and_a_success_between_does_not(circuit: CircuitBreaker) -> None:
    for _ in range(10):
        for _ in range(THRESHOLD - 1):
            circuit.failed()
        circuit.succeeded()
    assert state(circuit) == "closed"
    break_it(circuit)
    assert state(circuit) == "open"
    assert not circuit.allows()
    assert circuit.retry_in() == COOLDOWN


def test_after_the_cool_down_one_trial_decides(circuit: CircuitBreaker, clock: Clock) -> None:
    break_it(circuit)
    clock.now += COOLDOWN
    assert state(circuit) == "half-open"
    assert circuit.retry_in() == 0
    assert [circuit.allows() for _ in range(3)] == [True, False, False]
    circuit.succeeded()
    assert state(circuit) == "closed"
    assert circuit.allows()


def test_each_trial_that_fails_doubles_the_cool_down_up_to_a_bound(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    break_it(circuit)
    found = []
    for _ in range(5):
        clock.now += circuit.retry_in()
        assert circuit.allows()
        circuit.failed()
        found.append(circuit.retry_in())
    assert found == [4.0, 8.0, 9.0, 9.0, 9.0]
    clock.now += circuit.retry_in()
    assert circuit.allows()
    circuit.succeeded()
    break_it(circuit)
    assert circuit.retry_in() == COOLDOWN


def test_a_trial_that_nobody_tells_the_end_of_ends_by_itself(
    circuit: CircuitBreaker, clock: Clock
) -> None:
    break_it(circuit)
    clock.now += COOLDOWN
    assert circuit.allows()
    assert circuit.retry_in() == COOLDOWN
    clock.now += COOLDOWN
    assert circuit.allows()


def test_of_many_threads_one_gets_the_trial(circuit: CircuitBreaker, clock: Clock) -> None:
    break_it(circuit)
    clock.now += COOLDOWN
    barrier = threading.Barrier(16)
    allowed = []

    def ask() -> None:
        barrier.wait(10)
        allowed.append(circuit.allows())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(allowed) == [False] * 15 + [True]


class Breaker(RuleBasedStateMachine):
    """Whatever comes, it never lets through while it is open, and always lets through again."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = CircuitBreaker(THRESHOLD, COOLDOWN, LONGEST, self.clock)
        self.in_a_row = 0

    @rule(seconds=st.floats(0, 12))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.circuit.state == "closed")
    @rule(fine=st.booleans())
    def call(self, fine: bool) -> None:
        assert self.circuit.allows()
        if fine:
            self.circuit.succeeded()
        else:
            self.circuit.failed()
        self.in_a_row = 0 if fine else self.in_a_row + 1
        assert self.circuit.state == ("open" if self.in_a_row >= THRESHOLD else "closed")

    @precondition(lambda self: self.circuit.state == "open")
    @rule()
    def call_while_open(self) -> None:
        assert not self.circuit.allows()
        assert 0 < self.circuit.retry_in() <= LONGEST

    @precondition(lambda self: self.circuit.state == "half-open")
    @rule(fine=st.booleans())
    def trial(self, fine: bool) -> None:
        if not self.circuit.allows():
            return
        if fine:
            self.circuit.succeeded()
            self.in_a_row = 0
        else:
            self.circuit.failed()
        assert self.circuit.state == ("closed" if fine else "open")

    @invariant()
    def it_is_never_left_alone_for_ever(self) -> None:
        assert self.circuit.retry_in() <= LONGEST


TestBreaker = Breaker.TestCase
TestBreaker.settings = settings(max_examples=100, deadline=None)
