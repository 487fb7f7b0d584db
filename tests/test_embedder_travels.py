"""An embedder and a reranker are their arguments: they can be copied and pickled."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed

from hotstart import Embedder, Reranker
from hotstart.cache.embedding_cache import EmbeddingCache
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, RERANKERS

TEXTS = ["one", "two", "three"]


def embedder(**options: Any) -> Embedder:
    return Embedder(FAMILIES / "bert-mean-normalize" / "model", truncate_dim=8, **options)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_shares_the_loaded_model(duplicate: Any) -> None:
    original = embedder(pool=Pool())
    vectors = original.encode(TEXTS)
    other = duplicate(original)
    assert other.is_loaded
    np.testing.assert_array_equal(other.encode(TEXTS), vectors)
    original.unload()
    assert not other.is_loaded


def test_a_pickled_embedder_has_its_arguments(tmp_path: Path) -> None:
    cache = EmbeddingCache(f"sqlite:{tmp_path / 'vectors.db'}")
    original = embedder(cache=cache, fallback="fake:dimension=5", keep_alive=30, pool=Pool())
    vectors = original.encode(TEXTS)
    other = pickle.loads(pickle.dumps(original))  # noqa: S301 - our own
    assert (other.model, other.dimension, other.fallback.model) == (
        original.model,
        8,
        "fake:dimension=5",
    )
    assert other.state == "unloaded"
    np.testing.assert_array_equal(other.encode(TEXTS), vectors)
    assert other.cache_info().hits == 3


def test_a_pickled_reranker_has_its_arguments() -> None:
    original = Reranker(RERANKERS / "bert-modern" / "model")
    other = pickle.loads(pickle.dumps(original))  # noqa: S301 - our own
    pairs = [("one", "two"), ("one", "one")]
    np.testing.assert_array_equal(other.predict(pairs), original.predict(pairs))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_compute_with_an_embedder(method: str) -> None:
    original = embedder()
    expected = original.encode(TEXTS)
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as processes:
        vectors = list(processes.map(original.encode, TEXTS))
    np.testing.assert_allclose(np.stack(vectors), expected, atol=1e-6)


def test_joblib_s_workers_compute_with_an_embedder() -> None:
    """loky pickles by cloudpickle, into processes that import the library anew."""
    original = embedder()
    expected = original.encode(TEXTS)
    calls = (delayed(original.encode)(text) for text in TEXTS)
    vectors = Parallel(n_jobs=2, backend="loky")(calls)
    np.testing.assert_allclose(np.stack(vectors), expected, atol=1e-6)


def test_an_embedder_with_a_lambda_says_what_cannot_travel() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(embedder(on_progress=lambda doing, fraction: None))
