"""A fallback answers in its own space, only where that is accepted, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotstart import Embedder, SearchIndex
from hotstart.errors import HotstartError, InvalidInput, LoadFailed, NotReady
from hotstart.pool.pool import Pool


def failing(fallback: str | Embedder | None = "fake:dimension=5") -> Embedder:
    return Embedder("fake:dimension=3,fail_loads=9999", fallback=fallback, pool=Pool())


def test_the_model_itself_answers_where_it_can() -> None:
    embedder = Embedder("fake:dimension=3", fallback="fake:dimension=5")
    answer = embedder.embed(["a", "b"], accept_fallback=True)
    assert answer.vectors.shape == (2, 3)
    assert (answer.model, answer.engine) == ("fake:dimension=3", "fake")
    assert (answer.fingerprint, answer.reason, answer.tokens) == (embedder.fingerprint, None, 2)


def test_who_does_not_accept_another_space_gets_the_error() -> None:
    with pytest.raises(LoadFailed):
        failing().embed("a")
    with pytest.raises(LoadFailed):
        failing().encode("a")


def test_the_fallback_says_whose_vectors_these_are_and_why() -> None:
    embedder = failing()
    answer = embedder.embed("a", accept_fallback=True)
    assert answer.vectors.shape == (5,)
    assert answer.model == "fake:dimension=5"
    assert embedder.fallback is not None
    assert answer.fingerprint == embedder.fallback.fingerprint
    assert answer.reason is not None
    assert "could not be loaded" in answer.reason


def test_a_model_too_slow_is_answered_for() -> None:
    ready = Embedder("fake:dimension=5", strategy="eager")
    embedder = Embedder("fake:hang_load=true,name=slow", fallback=ready, pool=Pool())
    answer = embedder.embed("a", accept_fallback=True, timeout=0.05)
    assert answer.model == "fake:dimension=5"
    assert embedder.is_loading


def test_a_chain_ends_with_the_last_error() -> None:
    chain = failing(failing(None))
    with pytest.raises(LoadFailed):
        chain.embed("a", accept_fallback=True)
    chain = failing(failing("fake:dimension=7"))
    assert chain.embed("a", accept_fallback=True).vectors.shape == (7,)


def test_bad_input_is_nobody_elses_to_answer() -> None:
    with pytest.raises(InvalidInput):
        failing().embed(b"bytes", accept_fallback=True)  # type: ignore[arg-type]


def test_the_fallback_has_its_own_dimensions_and_the_callers_options() -> None:
    embedder = Embedder(
        "fake:dimension=8,fail_loads=9999", truncate_dim=6, fallback="fake:dimension=5"
    )
    answer = embedder.embed(["a", "b"], accept_fallback=True, convert_to_numpy=False)
    assert [len(vector) for vector in answer.vectors] == [5, 5]


def test_an_index_holds_both_spaces_and_the_answer_says_which(tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text("A kitten sleeps on the mat.\n")
    model = "fake:dimension=4,fail_loads=0"
    both = Embedder(model, fallback="fake:dimension=6")
    report = SearchIndex(tmp_path, both).update()
    assert report.embedded == 2
    assert SearchIndex(tmp_path, both).search("kitten").model == model

    down = Embedder("fake:dimension=4,fail_loads=9999", fallback="fake:dimension=6", pool=Pool())
    answer = SearchIndex(tmp_path, down).search("kitten")
    assert answer.model == "fake:dimension=6"
    assert answer.mode == "hybrid"
    assert answer.reason is not None
    assert "'fake:dimension=6' answers" in answer.reason


def test_the_fallbacks_vectors_are_made_though_the_model_fails(tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text("A kitten sleeps on the mat.\n")
    index = SearchIndex(tmp_path, failing("fake:dimension=6"))
    with pytest.raises(HotstartError):
        index.update()
    assert index.search("kitten").model == "fake:dimension=6"


def test_not_ready_stays_not_ready_where_the_fallback_is_not_ready_either() -> None:
    slow = Embedder("fake:hang_load=true,name=slow-too", pool=Pool())
    embedder = Embedder("fake:hang_load=true,name=slower", fallback=slow, pool=Pool())
    with pytest.raises(NotReady):
        embedder.embed("a", accept_fallback=True, timeout=0.02)
