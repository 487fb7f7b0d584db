"""Sparse and multi-vector embeddings against sentence-transformers' own."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from hotstart import Embedder, SparseEmbedding, maxsim
from hotstart.config import Settings
from hotstart.errors import InvalidInput, ModelDamaged, UnsupportedModel, WrongKind
from hotstart.pool.loader import prepare_artifact
from hotstart.pool.pool import Pool
from hotstart.ragged import sparse_embeddings
from hotstart.types import EmbedOutput, Matrix, ModelInfo
from support.golden import FAMILIES, MULTI_VECTOR, SPARSE, family_texts
from support.waiting import wait_until

ENGINES = ["onnx", "openvino"]
SPLADE = ["bert", "modernbert", "distilbert-sum", "roberta-log1p", "gte", "mpnet-bare"]
NOTHING = 1e-6  # a weight that rounding may make of nothing


def dense(found: list[SparseEmbedding], width: int) -> NDArray[np.float32]:
    rows = np.zeros((len(found), width), np.float32)
    for row, embedding in zip(rows, found, strict=True):
        assert (np.diff(embedding.indices) > 0).all()
        assert (embedding.values > 0).all()
        row[embedding.indices] = embedding.values
    return rows


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [*SPLADE, "bge"])
def test_sparse_embeddings_are_those_of_sentence_transformers(name: str, engine: str) -> None:
    embedder = Embedder(SPARSE / name / "model", engine=engine, pool=Pool())
    expected = np.load(SPARSE / name / "weights.npy")
    found = dense(embedder.encode_sparse(family_texts()), expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert ((found > NOTHING) == (expected > NOTHING)).mean() > 0.9999


def test_the_names_of_the_hub_are_the_same_model(tmp_path: Path) -> None:
    """As opensearch-neural-sparse-encoding-doc-v3-gte, a `new` model of the hub, saves it."""
    folder = tmp_path / "model"
    shutil.copytree(SPARSE / "gte" / "model", folder)
    config = json.loads((folder / "config.json").read_text()) | {
        "model_type": "new",
        "rope_theta": 160000,
        "position_embedding_type": "rope",
        "layer_norm_type": "layer_norm",
        "pack_qkv": True,
        "type_vocab_size": 1,
    }
    del config["rope_parameters"]
    (folder / "config.json").write_text(json.dumps(config))
    expected = np.load(SPARSE / "gte" / "weights.npy")
    embedder = Embedder(folder, kind="sparse", pool=Pool())
    found = dense(embedder.encode_sparse(family_texts()), expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_one_text_gives_one_embedding_and_no_text_none() -> None:
    embedder = Embedder(SPARSE / "bert" / "model", kind="sparse", pool=Pool())
    embedding = embedder.encode_sparse("hello world")
    assert (embedding.indices.dtype, embedding.values.dtype) == (np.int32, np.float32)
    assert embedding.as_dict() == dict(
        zip(embedding.indices.tolist(), embedding.values.tolist(), strict=True)
    )
    assert embedder.encode_sparse([]) == []
    assert embedder.dimension == np.load(SPARSE / "bert" / "weights.npy").shape[1]


def test_coroutines_share_batches() -> None:
    embedder = Embedder(SPARSE / "bge" / "model", pool=Pool())
    texts = family_texts()

    async def main() -> tuple[list[SparseEmbedding], list[NDArray[np.float32]]]:
        sparse = await asyncio.gather(*(embedder.aencode_sparse(text) for text in texts))
        vectors = await asyncio.gather(*(embedder.aencode_multi_vector(text) for text in texts))
        return list(sparse), list(vectors)

    sparse, vectors = asyncio.run(main())
    expected = np.load(SPARSE / "bge" / "weights.npy")
    np.testing.assert_allclose(dense(sparse, expected.shape[1]), expected, rtol=1e-4, atol=1e-4)
    golden = np.load(SPARSE / "bge" / "vectors.npz")
    for number, rows in enumerate(vectors):
        np.testing.assert_allclose(rows, golden[str(number)], atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_bge_has_a_vector_for_each_token(engine: str) -> None:
    embedder = Embedder(SPARSE / "bge" / "model", engine=engine, pool=Pool())
    golden = np.load(SPARSE / "bge" / "vectors.npz")
    for number, rows in enumerate(embedder.encode_multi_vector(family_texts())):
        assert rows.shape == golden[str(number)].shape
        np.testing.assert_allclose(rows, golden[str(number)], atol=1e-5)


def test_the_three_embeddings_of_a_model_stand_side_by_side() -> None:
    embedder = Embedder(SPARSE / "bge" / "model", pool=Pool())
    assert embedder.encode("a text").shape == (32,)
    assert embedder.encode_multi_vector("a text").shape[1] == 32
    assert len(embedder.encode_sparse("a text").values)


def test_a_promotion_compares_rows() -> None:
    embedder = Embedder(SPARSE / "bert" / "model", kind="sparse", pool=Pool())
    before = embedder.encode_sparse("hello world")
    embedder.promote("throughput")
    wait_until(lambda: embedder.status().refused or embedder.status().stage == "throughput")
    assert not embedder.status().refused
    after = embedder.encode_sparse("hello world")
    np.testing.assert_allclose(after.values, before.values, rtol=1e-4)


def test_max_active_dims_keeps_the_largest_values(tmp_path: Path) -> None:
    embedder = Embedder(SPARSE / "bert" / "model", pool=Pool())
    whole = embedder.encode_sparse("hello world")
    cut = embedder.encode_sparse("hello world", max_active_dims=5)
    assert sorted(cut.values) == sorted(whole.values)[-5:]
    assert (np.diff(cut.indices) > 0).all()
    folder = tmp_path / "model"
    shutil.copytree(SPARSE / "bert" / "model", folder)
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_active_dims": 3}))
    assert len(Embedder(folder, pool=Pool()).encode_sparse("hello world").values) == 3


def test_a_model_without_sparse_embeddings_says_so() -> None:
    embedder = Embedder(FAMILIES / "bert-mean-normalize" / "model", pool=Pool())
    with pytest.raises(WrongKind, match=r"no sparse embeddings\. Use Embedder\.encode\."):
        embedder.encode_sparse("a text")
    with pytest.raises(WrongKind, match=r"no vectors of tokens\. Use Embedder\.encode\."):
        embedder.encode_multi_vector("a text")


def test_a_sparse_model_has_no_dense_vectors() -> None:
    with pytest.raises(InvalidInput, match="encode_sparse"):
        Embedder(SPARSE / "bert" / "model", kind="sparse", pool=Pool()).encode("a text")
    with pytest.raises(WrongKind, match=r"no dense vectors\. Use Embedder\.encode_sparse"):
        Embedder(SPARSE / "bert" / "model", pool=Pool()).encode("a text")


def test_engines_that_do_not_run_a_kind_are_refused() -> None:
    embedder = Embedder("fake:ragged", pool=Pool())
    with pytest.raises(InvalidInput, match="kind sparse"):
        embedder.encode_sparse("a text")


@pytest.mark.parametrize(
    ("file", "changes", "error"),
    [
        ("1_SpladePooling/config.json", {"pooling_strategy": "mean"}, UnsupportedModel),
        ("1_SpladePooling/config.json", {"activation_function": "gelu"}, UnsupportedModel),
        ("config.json", {"vocab_size": 164}, ModelDamaged),
        ("config.json", {"model_type": "nomic_bert"}, UnsupportedModel),
        ("sentence_bert_config.json", {"transformer_task": "text-generation"}, UnsupportedModel),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SPARSE / "bert" / "model", folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | changes))
    with pytest.raises(error):
        Embedder(folder, pool=Pool()).encode_sparse("a text")


def test_logits_are_computed_in_parts_of_the_vocabulary(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits of a whole batch would take 125 MB, with the vocabulary of BERT."""
    monkeypatch.setattr("hotstart.preparation.graph.head._VOCABULARY_ROWS", 64)
    embedder = Embedder(SPARSE / "bert" / "model", kind="sparse", pool=Pool())
    artifact = prepare_artifact(embedder._spec.replace(source=str(SPARSE / "bert" / "model")))
    graph = onnx.load(f"{artifact.folder}/model.onnx", load_external_data=False).graph
    parts = [t for t in graph.initializer if t.dims[1:] == [32] and t.dims[0] in {64, 37}]
    assert [t.dims[0] for t in parts][-3:] == [64, 64, 37]
    expected = np.load(SPARSE / "bert" / "weights.npy")
    found = dense(embedder.encode_sparse(family_texts()), expected.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_largest_values_of_each_text() -> None:
    info = ModelInfo(6, None, {}, None, "", max_active_dims=1)
    rows = Matrix.of(np.array([[1, 0.5], [3, -2.0], [2, 1.0]], np.float32))
    output = EmbedOutput(rows, info, lengths=[2, 1])
    first, second = sparse_embeddings(output)
    assert (first.as_dict(), second.as_dict()) == ({3: -2.0}, {2: 1.0})


def test_maxsim_is_the_sum_of_the_best_matches() -> None:
    queries = [np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.5, 0.5]])]
    documents = [np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [0.6, 0.8]])]
    np.testing.assert_allclose(maxsim(queries, documents), [[1.0, 1.6], [0.5, 0.7]], rtol=1e-6)
    with pytest.raises(InvalidInput):
        maxsim([np.zeros(3)], documents)


MULTI_VECTORS = ["bert-fixed", "roberta-min", "distilbert-plain", "pylate", "colbert"]
TASKS = {"query": "query", "document": "document", "plain": None}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", MULTI_VECTORS)
def test_vectors_of_tokens_are_those_of_sentence_transformers(
    name: str, task: str, engine: str
) -> None:
    embedder = Embedder(MULTI_VECTOR / name / "model", engine=engine, pool=Pool())
    golden = np.load(MULTI_VECTOR / name / f"{task}.npz")
    found = embedder.encode_multi_vector(family_texts(), task=TASKS[task])
    for number, rows in enumerate(found):
        expected = golden[str(number)]
        assert rows.shape == expected.shape, family_texts()[number]
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, expected, atol=2e-5)


def test_queries_and_documents_share_a_batch() -> None:
    embedder = Embedder(MULTI_VECTOR / "colbert" / "model", kind="multi_vector", pool=Pool())
    texts = family_texts()[:5]

    async def main() -> list[Any]:
        ask = embedder.aencode_multi_vector
        return await asyncio.gather(
            *(ask(texts, task=task) for task in ("query", "document", None))
        )

    for task, found in zip(TASKS, asyncio.run(main()), strict=True):
        golden = np.load(MULTI_VECTOR / "colbert" / f"{task}.npz")
        for number, rows in enumerate(found):
            np.testing.assert_allclose(rows, golden[str(number)], atol=2e-5)


@pytest.mark.parametrize(
    ("file", "changes", "error"),
    [
        ("2_MultiVectorMask/config.json", {"keep_only_token_ids": [5]}, UnsupportedModel),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "x"}}, UnsupportedModel),
        (
            "sentence_bert_config.json",
            {"query_expansion": {"strategy": "min", "length": 10**6}},
            ModelDamaged,
        ),
        ("sentence_bert_config.json", {"query_length": "many"}, ModelDamaged),
        ("1_Dense/config.json", {"out_features": 9}, ModelDamaged),
    ],
)
def test_what_a_late_interaction_model_does_not_have_is_refused(
    tmp_path: Path, file: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MULTI_VECTOR / "bert-fixed" / "model", folder)
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | changes))
    with pytest.raises(error):
        Embedder(folder, pool=Pool()).encode_multi_vector("a text")


def test_a_late_interaction_model_has_no_dense_vectors() -> None:
    with pytest.raises(WrongKind, match=r"no dense vectors\. Use Embedder\.encode_multi_vector"):
        Embedder(MULTI_VECTOR / "bert-fixed" / "model", pool=Pool()).encode("a text")
