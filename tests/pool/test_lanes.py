"""Which calls run together: pure, so that every queue can be tried."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hotstart.pool.batching import LANES, RunShare, estimated_tokens, lane_for, next_run

calls = st.lists(st.integers(1, 600), min_size=1, max_size=40).flatmap(
    lambda tokens: st.tuples(st.just(tokens), st.integers(0, len(tokens) - 1))
)


def test_a_question_takes_the_interactive_lane_and_many_texts_the_other() -> None:
    assert lane_for(1, 10).name == "interactive"
    assert lane_for(8, 512).name == "interactive"
    assert lane_for(9, 90).name == "bulk"
    assert lane_for(1, 513).name == "bulk"
    assert [lane.name for lane in LANES] == ["interactive", "bulk"]


def test_a_text_is_weighed_by_its_length_as_far_as_a_model_reads() -> None:
    assert estimated_tokens("four" * 10) == 12
    assert estimated_tokens(("four", "four")) == 4
    assert estimated_tokens("x" * 1_000_000) == 512


def test_calls_run_in_the_order_they_came_until_the_budget_is_full() -> None:
    assert next_run([([10, 10], 0), ([10], 0), ([10], 0)], 30) == [
        RunShare(0, 0, 2),
        RunShare(1, 0, 1),
    ]
    assert next_run([([10, 10, 10], 1), ([1], 0)], 10) == [RunShare(0, 1, 2)]
    assert next_run([([500], 0), ([1], 0)], 100) == [
        RunShare(0, 0, 1)
    ]  # a single text may exceed it
    assert next_run([], 100) == []


@given(st.lists(calls, max_size=10), st.integers(1, 5000))
def test_a_run_is_full_and_in_order(queue: list[tuple[list[int], int]], budget: int) -> None:
    shares = next_run(queue, budget)
    texts = [
        (number, place)
        for number, (tokens, begun) in enumerate(queue)
        for place in range(begun, len(tokens))
    ]
    taken = [(share.call, place) for share in shares for place in range(share.start, share.stop)]
    assert taken == texts[: len(taken)]
    assert bool(taken) == bool(texts)
    weight = sum(queue[number][0][place] for number, place in taken)
    assert weight <= budget or len(taken) == 1
    if len(taken) < len(texts):
        number, place = texts[len(taken)]
        assert weight + queue[number][0][place] > budget


@given(st.lists(calls, min_size=1, max_size=10), st.integers(1, 5000))
def test_every_text_runs_once(queue: list[tuple[list[int], int]], budget: int) -> None:
    waiting = {number: [tokens, begun] for number, (tokens, begun) in enumerate(queue)}
    runs: list[tuple[int, int]] = []
    while waiting:
        numbers = list(waiting)
        state = [(waiting[number][0], waiting[number][1]) for number in numbers]
        for share in next_run(state, budget):  # type: ignore[arg-type]
            number = numbers[share.call]
            runs += [(number, place) for place in range(share.start, share.stop)]
            waiting[number][1] = share.stop
        waiting = {n: call for n, call in waiting.items() if call[1] < len(call[0])}  # type: ignore[arg-type,operator]
    wanted = [
        (number, place)
        for number, (tokens, begun) in enumerate(queue)
        for place in range(begun, len(tokens))
    ]
    assert runs == wanted
