from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hotstart.engines.fake import FakeEngine, FakeSettings, fake_control, forget_fake_control
from hotstart.errors import InvalidInput
from support.waiting import wait_until


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.node.name
    forget_fake_control(request.node.name)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("fake:", FakeSettings()),
        ("fake:dimension=8,load_seconds=0.5,fail_loads=1", FakeSettings("fake", 8, 0.5, 1)),
        (
            "fake:name=a,fail_message=no disk,hang_load=true,encode_seconds=1,fail_texts=x|y z",
            FakeSettings("a", 8, 0, 0, "no disk", True, False, 1, ("x", "y z")),
        ),
        ("fake: dimension=3, hang_load=false", FakeSettings(dimension=3)),
    ],
)
def test_settings_are_read_from_a_source(source: str, expected: FakeSettings) -> None:
    assert FakeSettings.parse(source) == expected


def test_an_unknown_setting_raises_and_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput) as caught:
        FakeSettings.parse("fake:dimensions=8")
    for known in FakeSettings._fields:
        assert known in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        *("dimension=0", "dimension=x", "dimension", "load_seconds=-1", "load_seconds=nan"),
        *(
            "load_seconds=inf",
            "fail_loads=-1",
            "hang_load=1",
            "hang_encode=1",
            "encode_seconds=soon",
        ),
    ],
)
def test_an_invalid_value_raises(setting: str) -> None:
    with pytest.raises(InvalidInput, match=setting.partition("=")[0]):
        FakeSettings.parse(f"fake:{setting}")


def test_vectors_depend_only_on_the_text() -> None:
    """Compare with recorded vectors: they must be equal on every machine and in every release."""
    expected = [0.03557881, 0.71827859, 0.61100149, -0.33088845]
    vectors = (
        FakeEngine(FakeSettings(dimension=4)).embed(["a text", "other", "a text"]).vectors.array()
    )
    np.testing.assert_allclose(vectors[0], expected, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize("dimension", [1, 2, 384, 5000])
def test_vectors_have_length_one_in_any_dimension(dimension: int) -> None:
    vectors = (
        FakeEngine(FakeSettings(dimension=dimension))
        .embed(["", "a", "東京", "\ud800"])
        .vectors.array()
    )
    assert vectors.shape == (4, dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_of_different_texts_are_unrelated() -> None:
    vectors = (
        FakeEngine(FakeSettings(dimension=256)).embed([str(n) for n in range(50)]).vectors.array()
    )
    similar = vectors @ vectors.T - np.eye(50)
    assert np.abs(similar).max() < 0.4


def test_the_first_loads_of_a_name_fail(name: str) -> None:
    settings = FakeSettings(name, fail_loads=2, fail_message="no such luck")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such luck"):
            FakeEngine(settings)
    FakeEngine(settings)
    FakeEngine(settings)
    assert (fake_control(name).loads, fake_control(name).failures) == (4, 2)
    assert fake_control(f"not {name}").loads == 0
    forget_fake_control(name)
    with pytest.raises(RuntimeError):
        FakeEngine(settings)


def test_a_load_hangs_until_it_is_released(name: str) -> None:
    done = threading.Event()

    def load() -> None:
        FakeEngine(FakeSettings(name, hang_load=True))
        done.set()

    thread = threading.Thread(target=load)
    thread.start()
    assert not done.wait(0.1)
    fake_control(name).release()
    assert done.wait(60)
    thread.join()
    FakeEngine(FakeSettings(name, hang_load=True))  # released for good


def test_a_hanging_call_waits_for_the_release(name: str) -> None:
    engine = FakeEngine(FakeSettings(name, hang_encode=True))
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(engine.embed, ["text"])
        wait_until(lambda: fake_control(name).embedded["text"])
        assert not call.done()
        fake_control(name).release()
        assert call.result(60).vectors.array().shape == (1, 8)


def test_loads_and_calls_take_the_configured_seconds(name: str) -> None:
    started = time.perf_counter()
    engine = FakeEngine(FakeSettings(name, load_seconds=0.05, encode_seconds=0.05))
    loaded = time.perf_counter()
    engine.embed(["text"])
    assert loaded - started >= 0.05
    assert time.perf_counter() - loaded >= 0.05


def test_a_call_with_a_failing_text_raises(name: str) -> None:
    engine = FakeEngine(FakeSettings(name, fail_texts=("bad",)))
    with pytest.raises(RuntimeError, match="'bad'"):
        engine.embed(["good", "bad"])
    assert engine.embed(["good", "not bad"]).vectors.array().shape == (2, 8)
