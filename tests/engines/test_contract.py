"""What `hotstart.engines.Engine` promises, held by every engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from hotstart.engines import ENGINES, Engine
from support.engines import OPENERS
from support.golden import family_texts

TEXTS = family_texts()


def close(engine: Engine, actual: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Compare vectors as closely as the engine computes: bfloat16 has 8 significant bits."""
    if getattr(engine, "precision", "f32") == "bf16":
        np.testing.assert_allclose(actual, expected, atol=2e-2, rtol=2e-2)
    else:
        np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module", params=OPENERS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    opened = OPENERS[request.param]()
    assert opened.name == request.param.split()[0]
    yield opened
    opened.close()


def test_every_engine_of_the_table_is_held_to_it() -> None:
    assert {name.split()[0] for name in OPENERS} | {"torch"} == ENGINES.keys()


def test_one_float32_vector_a_text(engine: Engine) -> None:
    vectors = engine.embed(TEXTS).vectors
    assert vectors.shape == (len(TEXTS), engine.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def test_no_texts_no_vectors(engine: Engine) -> None:
    vectors = engine.embed([]).vectors
    assert vectors.shape == (0, engine.dimension)
    assert vectors.dtype == np.float32


def test_vectors_stand_in_the_order_of_their_texts(engine: Engine) -> None:
    alone = np.concatenate([engine.embed([text]).vectors for text in TEXTS])
    close(engine, engine.embed(TEXTS).vectors, alone)
    close(engine, engine.embed(TEXTS[::-1]).vectors, alone[::-1])


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_the_batch_size_changes_no_vector(engine: Engine, batch_size: int) -> None:
    close(engine, engine.embed(TEXTS, batch_size).vectors, engine.embed(TEXTS).vectors)


def test_what_was_returned_is_not_written_over(engine: Engine) -> None:
    first = engine.embed(TEXTS).vectors
    kept = first.copy()
    engine.embed(TEXTS[::-1])
    np.testing.assert_array_equal(first, kept)


def test_eight_threads_at_once_get_each_their_own(engine: Engine) -> None:
    expected = engine.embed(TEXTS).vectors
    together = threading.Barrier(8)

    def work(first: int) -> None:
        together.wait(60)
        for round_ in range(6):
            chosen = range(first % 3, len(TEXTS), 1 + round_ % 3)
            vectors = engine.embed([TEXTS[i] for i in chosen], batch_size=3).vectors
            close(engine, vectors, expected[chosen])

    with ThreadPoolExecutor(8) as threads:
        for outcome in [threads.submit(work, number) for number in range(8)]:
            outcome.result(60)


@pytest.mark.parametrize("name", OPENERS)
def test_nothing_follows_a_close(name: str) -> None:
    opened = OPENERS[name]()
    opened.embed(["text"])
    opened.close()
    with pytest.raises(AssertionError, match="close"):
        opened.embed(["text"])
