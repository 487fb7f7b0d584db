"""Vectors of every family and variant, compared with sentence-transformers."""

from __future__ import annotations

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import UnsupportedModel
from support.golden import FAMILIES, cosines, family_texts

NAMES = sorted(folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists())
TEXTS = family_texts()


def test_every_family_has_golden_vectors() -> None:
    assert len(NAMES) >= 20
    for family in ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"):
        assert any(name.startswith(family) for name in NAMES), family


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


def test_queries_and_documents_get_their_prompts() -> None:
    folder = FAMILIES / "bert-prompts"
    embedder = Embedder(folder / "model")
    for method, name in (
        (embedder.encode_query, "vectors_query"),
        (embedder.encode_document, "vectors_document"),
    ):
        assert cosines(method(TEXTS), np.load(folder / f"{name}.npy")).min() >= 0.9999


def test_an_unsupported_architecture_raises_and_names_the_supported_ones() -> None:
    with pytest.raises(UnsupportedModel, match=r"'t5'.*bert, roberta.*torch"):
        Embedder(FAMILIES / "t5-unsupported" / "model").encode("text")
