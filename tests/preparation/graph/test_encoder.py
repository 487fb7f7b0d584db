"""Vectors of every family and variant, compared with sentence-transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import UnsupportedModel
from hotstart.models.architectures import FAMILIES as ARCHITECTURES
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts

NAMES = sorted(folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists())
TEXTS = family_texts()


def test_every_family_has_golden_vectors() -> None:
    assert len(NAMES) >= 20
    families = {
        json.loads((FAMILIES / name / "model/config.json").read_text())["model_type"]
        for name in NAMES
    }
    same = {"new": "gte", "mt5": "t5", "jina_bert": "bert", "voyage_qwen3": "qwen3"}
    same |= {"xlm_roberta_flash": "xlm-roberta", "jina_bert_qk_post_norm": "bert"}
    assert {same.get(name, name) for name in ARCHITECTURES} <= families


@pytest.mark.parametrize("name", NAMES)
def test_vectors_equal_the_golden_vectors(name: str) -> None:
    golden = np.load(FAMILIES / name / "vectors.npy")
    embedder = Embedder(FAMILIES / name / "model")
    alone = np.stack([embedder.encode(text) for text in TEXTS])
    together = embedder.encode(TEXTS)
    assert embedder.dimension == golden.shape[1]
    for vectors in (alone, together):
        assert vectors.dtype == np.float32
        assert cosines(vectors, golden).min() >= 0.9999
        np.testing.assert_allclose(vectors, golden, atol=2e-4, rtol=2e-4)


OTHERS = [
    name
    for name in NAMES
    if not name.startswith(("bert", "roberta", "xlm", "camembert", "onnx-only"))
]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(("precision", "least"), [("float32", 0.999999), ("int8", 0.99)])
def test_openvino_gives_the_golden_vectors(name: str, precision: str, least: float) -> None:
    golden = np.load(FAMILIES / name / "vectors.npy")
    embedder = Embedder(
        FAMILIES / name / "model", engine="openvino", precision=precision, pool=Pool()
    )
    assert cosines(embedder.encode(TEXTS), golden).min() >= least


def test_queries_and_documents_get_their_prompts() -> None:
    folder = FAMILIES / "bert-prompts"
    embedder = Embedder(folder / "model")
    for method, name in (
        (embedder.encode_query, "vectors_query"),
        (embedder.encode_document, "vectors_document"),
    ):
        assert cosines(method(TEXTS), np.load(folder / f"{name}.npy")).min() >= 0.9999


def test_an_unsupported_architecture_raises_and_names_the_supported_ones() -> None:
    with pytest.raises(UnsupportedModel, match=r"'xlnet'.*bert, roberta.*torch"):
        Embedder(FAMILIES / "xlnet-unsupported" / "model").encode("text")
