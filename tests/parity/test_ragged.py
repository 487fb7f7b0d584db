"""Live, beside torch: sparse and multi-vector embeddings of sentence-transformers' own classes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, maxsim
from hotstart.pool.pool import Pool
from support.golden import MULTI_VECTOR, SPARSE, family_texts

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
TASKS = {"encode": None, "encode_query": "query", "encode_document": "document"}


def random_texts() -> list[str]:
    chance = random.Random(20261128)
    alphabet = "abcdefgh ,.;!?'[]()0123456789 \n éüж你🙂"
    return [
        "".join(chance.choice(alphabet) for _ in range(chance.randint(0, 120))) for _ in range(15)
    ]


@pytest.mark.parametrize(
    "name", ["bert", "modernbert", "distilbert-sum", "roberta-log1p", "mpnet-bare"]
)
@pytest.mark.parametrize("most", [None, 7])
def test_sparse(name: str, most: int | None) -> None:
    from sentence_transformers import SparseEncoder

    folder = str(SPARSE / name / "model")
    model = SparseEncoder(folder, device="cpu")
    embedder = Embedder(folder, pool=Pool())
    texts = family_texts() + random_texts()
    for method, task in TASKS.items():
        encode = getattr(model, method)
        expected = np.stack(
            [
                encode([text], convert_to_sparse_tensor=False, max_active_dims=most)[0].numpy()
                for text in texts
            ]
        )
        found = np.zeros_like(expected)
        for row, embedding in zip(
            found, embedder.encode_sparse(texts, task=task, max_active_dims=most), strict=True
        ):
            row[embedding.indices] = embedding.values
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["bert-fixed", "roberta-min", "distilbert-plain", "pylate", "colbert"]
)
def test_multi_vector(name: str) -> None:
    from sentence_transformers import MultiVectorEncoder

    folder = str(MULTI_VECTOR / name / "model")
    model = MultiVectorEncoder(folder, device="cpu")
    embedder = Embedder(folder, pool=Pool())
    texts = family_texts() + random_texts()
    kept: dict[str, list[Any]] = {}
    for method, task in TASKS.items():
        expected = [getattr(model, method)([text], convert_to_numpy=True)[0] for text in texts]
        kept[method] = embedder.encode_multi_vector(texts, task=task)
        for found, rows in zip(kept[method], expected, strict=True):
            assert found.shape == rows.shape
            np.testing.assert_allclose(found, rows, atol=2e-5)
    queries, documents = kept["encode_query"][:5], kept["encode_document"][:9]
    scores = model.similarity(queries, documents).numpy()
    np.testing.assert_allclose(maxsim(queries, documents), scores, rtol=1e-5)


@pytest.mark.parametrize("strategy", ["fixed", "min"])
@pytest.mark.parametrize("attend", [False, True])
@pytest.mark.parametrize("query_length", [None, 30])
@pytest.mark.parametrize("skiplist_tasks", [["document"], ["query", "document"], ["query"]])
def test_query_expansion(
    tmp_path: Path, strategy: Any, attend: bool, query_length: int | None, skiplist_tasks: Any
) -> None:
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    model = MultiVectorEncoder(str(MULTI_VECTOR / "bert-fixed" / "model"), device="cpu")
    model[0].query_expansion = None
    model[0].query_length = query_length
    model[0].query_expansion = {
        "strategy": strategy,
        "attend": attend,
        "length": 22,
        "token": "[SEP]" if attend else None,
    }
    model[2] = MultiVectorMask([",", ".", "a"], skiplist_tasks=skiplist_tasks)
    model.save(str(tmp_path), create_model_card=False)
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    embedder = Embedder(tmp_path, pool=Pool())
    texts = family_texts()
    for method, task in TASKS.items():
        expected = [getattr(model, method)([text], convert_to_numpy=True)[0] for text in texts]
        for found, rows in zip(
            embedder.encode_multi_vector(texts, task=task), expected, strict=True
        ):
            assert found.shape == rows.shape
            np.testing.assert_allclose(found, rows, atol=2e-5)
