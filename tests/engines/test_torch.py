"""The torch engine on the CPU, in the environment that has torch."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hotstart.engines.torch import TorchEngine
from support.golden import FAMILIES, cosines, family_texts

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # torch's and transformers' own
]

TEXTS = family_texts()
NAMES = sorted(
    folder.name
    for folder in FAMILIES.iterdir()
    if (folder / "vectors.npy").exists() and folder.name != "onnx-only"  # no weights for torch
)


def folder_of(name: str) -> str:
    return str(FAMILIES / name / "model")


@pytest.fixture(scope="module")
def engine() -> Iterator[TorchEngine]:
    opened = TorchEngine(folder_of("bert-mean-normalize"), "cpu")
    yield opened
    opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_those_of_sentence_transformers(name: str) -> None:
    """The engine adds no default prompt; the caller adds it."""
    engine = TorchEngine(folder_of(name), "cpu")
    golden = np.load(FAMILIES / name / "vectors.npy")
    before = "" if name != "bert-prompts" else _default_prompt(engine)
    vectors = engine.embed([before + text for text in TEXTS]).vectors.array()
    assert (engine.dimension, engine.device) == (golden.shape[1], "cpu")
    assert vectors.dtype == np.float32
    assert cosines(vectors, golden).min() >= 0.9999
    np.testing.assert_allclose(vectors, golden, atol=2e-4, rtol=2e-4)


def _default_prompt(engine: TorchEngine) -> str:
    model: Any = engine._model
    return str(model.prompts[model.default_prompt_name])


def test_vectors_have_the_order_of_the_texts(engine: TorchEngine) -> None:
    alone = np.concatenate([engine.embed([text]).vectors.array() for text in TEXTS])
    for batch_size in (None, 1, 4, 100):
        together = engine.embed(TEXTS, batch_size).vectors.array()
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=1e-4)
    none = engine.embed([]).vectors.array()
    assert none.shape == (0, engine.dimension)
    assert none.dtype == np.float32


def test_concurrent_threads_get_correct_vectors(engine: TorchEngine) -> None:
    expected = engine.embed(TEXTS).vectors.array()
    with ThreadPoolExecutor(8) as threads:
        for vectors in threads.map(lambda _: engine.embed(TEXTS, 3).vectors.array(), range(16)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=1e-4)


def test_concurrent_constructors_give_correct_models() -> None:
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda name: TorchEngine(folder_of(name), "cpu"), NAMES[:4]))
    for name, engine in zip(NAMES[:4], engines, strict=True):
        golden = np.load(FAMILIES / name / "vectors.npy")
        assert cosines(engine.embed(TEXTS).vectors.array(), golden).min() >= 0.9999


def test_close_frees_the_model() -> None:
    engine = TorchEngine(folder_of("bert-max"), "cpu")
    model = weakref.ref(engine._model)
    engine.close()
    gc.collect()
    assert model() is None
    with pytest.raises(AssertionError, match="close"):
        engine.embed(["text"])
