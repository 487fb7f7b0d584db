"""The contract of `hotstart.engines.Engine`, checked for every engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart.engines import ENGINES, Engine
from support.engines import OPENERS
from support.golden import family_texts

TEXTS = family_texts()
GRAPHS = [name for name in OPENERS if ENGINES[name.split()[0]].opened_from == "artifact"]


def close(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module", params=OPENERS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened = OPENERS[request.param]()
    assert opened.name == request.param.split()[0]
    yield opened
    opened.close()


def test_every_engine_of_the_table_is_tested() -> None:
    assert {name.split()[0] for name in OPENERS} | {"torch"} == ENGINES.keys()


def test_embed_returns_one_float32_vector_per_text(engine: Engine) -> None:
    vectors = engine.embed(TEXTS).vectors.array()
    assert vectors.shape == (len(TEXTS), engine.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_embed_returns_no_vectors_for_no_texts(engine: Engine) -> None:
    vectors = engine.embed([]).vectors.array()
    assert vectors.shape == (0, engine.dimension)
    assert vectors.dtype == np.float32


def test_vectors_have_the_order_of_the_texts(engine: Engine) -> None:
    alone = np.concatenate([engine.embed([text]).vectors.array() for text in TEXTS])
    close(engine.embed(TEXTS).vectors.array(), alone)
    close(engine.embed(TEXTS[::-1]).vectors.array(), alone[::-1])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_the_batch_size_does_not_change_vectors(engine: Engine, batch_size: int) -> None:
    close(engine.embed(TEXTS, batch_size).vectors.array(), engine.embed(TEXTS).vectors.array())


def test_a_later_call_does_not_overwrite_returned_vectors(engine: Engine) -> None:
    first = engine.embed(TEXTS).vectors.array()
    copied = first.copy()
    engine.embed(TEXTS[::-1])
    np.testing.assert_array_equal(first, copied)


def test_concurrent_threads_get_their_own_vectors(engine: Engine) -> None:
    expected = engine.embed(TEXTS).vectors.array()
    together = threading.Barrier(8)

    def work(first: int) -> None:
        together.wait(60)
        for round_ in range(6):
            positions = range(first % 3, len(TEXTS), 1 + round_ % 3)
            vectors = engine.embed([TEXTS[i] for i in positions], batch_size=3).vectors.array()
            close(vectors, expected[positions])

    with ThreadPoolExecutor(8) as threads:
        for outcome in [threads.submit(work, number) for number in range(8)]:
            outcome.result(60)


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_stops_between_two_batches_when_nobody_awaits_its_vectors(name: str) -> None:
    engine = OPENERS[name]()
    asked: list[bool] = []

    def is_cancelled() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    with pytest.raises(CancelledError):
        engine.embed(TEXTS, batch_size=1, is_cancelled=is_cancelled)
    assert asked == [False, False, True]
    close(
        engine.embed(TEXTS).vectors.array(), engine.embed(TEXTS, is_cancelled=bool).vectors.array()
    )
    engine.close()


@pytest.mark.parametrize("name", OPENERS)
def test_embed_after_close_fails(name: str) -> None:
    opened = OPENERS[name]()
    opened.embed(["text"])
    opened.close()
    with pytest.raises(AssertionError, match="close"):
        opened.embed(["text"])
