"""Live, beside torch: sparse and multi-vector embeddings of sentence-transformers' own classes."""

from __future__ import annotations

import json
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
    "name", ["bert", "modernbert", "distilbert-sum", "roberta-log1p", "gte", "mpnet-bare"]
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


def with_wide_inputs(path: str, target: Path) -> None:
    """Write the graph at `path` with the int64 inputs that fastembed gives."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.input:
        narrow = f"{entry.name}_narrow"
        for node in model.graph.node:
            node.input[:] = [narrow if name == entry.name else name for name in node.input]
        model.graph.node.insert(
            0, helper.make_node("Cast", [entry.name], [narrow], to=TensorProto.INT32)
        )
        entry.type.tensor_type.elem_type = TensorProto.INT64
    onnx.save(model, str(target))


def test_fastembed_reads_queries_and_documents_alike(tmp_path: Path) -> None:
    """ColBERT's marker tokens, filled-up queries and skipped punctuation, over one graph."""
    import shutil

    from fastembed.common.model_description import DenseModelDescription, ModelSource
    from fastembed.late_interaction.colbert import Colbert
    from tokenizers import Tokenizer

    from hotstart.pool.loader import prepare_artifact

    folder = MULTI_VECTOR / "colbert" / "model"
    embedder = Embedder(folder, kind="multi_vector", pool=Pool())
    artifact = prepare_artifact(embedder._spec)
    with_wide_inputs(f"{artifact.folder}/model.onnx", tmp_path / "model.onnx")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / name)
    special = {"mask_token": "[MASK]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    class Peer(Colbert):  # type: ignore[misc]
        QUERY_MARKER_TOKEN_ID = tokenizer.token_to_id("[unused0]")
        DOCUMENT_MARKER_TOKEN_ID = tokenizer.token_to_id("[unused1]")

        @classmethod
        def _list_supported_models(cls) -> list[DenseModelDescription]:
            return [
                DenseModelDescription(
                    model="a/peer",
                    dim=8,
                    description="",
                    license="",
                    size_in_GB=0.1,
                    sources=ModelSource(hf="a/peer"),
                    model_file="model.onnx",
                )
            ]

    peer = Peer("a/peer", specific_model_path=str(tmp_path))
    texts = ["hello world", "the cat sat on the mat.", "a man, a plan.", "one two three", "a"]
    for task, found in (
        ("query", list(peer.query_embed(texts))),
        ("document", [next(iter(peer.embed([text]))) for text in texts]),
    ):
        for ours, theirs in zip(embedder.encode_multi_vector(texts, task=task), found, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
