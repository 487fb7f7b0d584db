"""The vectors of every family and variant, against transformers' and sentence-transformers' own."""

from __future__ import annotations

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import UnsupportedModel
from support.golden import FAMILIES, cosines, family_texts

NAMES = sorted(folder.name for folder in FAMILIES.iterdir() if (folder / "vectors.npy").exists())
TEXTS = family_texts()


def test_every_family_of_the_issue_has_golden_vectors() -> None:
    assert len(NAMES) >= 20
    for family in ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet"):
        assert any(name.startswith(family) for name in NAMES), family


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_those_of_transformers(name: str) -> None:
    golden = np.load(FAMILIES / name / "vectors.npy")
    embedder = Embedder(FAMILIES / name / "model")
    alone = np.stack([embedder.encode(text) for text in TEXTS])
    together = embedder.encode(TEXTS)
    assert embedder.dimension == golden.shape[1]
    for vectors in (alone, together):
        assert vectors.dtype == np.float32
        assert cosines(vectors, golden).min() >= 0.9999
        np.testing.assert_allclose(vectors, golden, atol=2e-4, rtol=2e-4)


def test_prompts_are_put_before_questions_and_documents() -> None:
    folder = FAMILIES / "bert-prompts"
    embedder = Embedder(folder / "model")
    for method, name in (
        (embedder.encode_query, "vectors_query"),
        (embedder.encode_document, "vectors_document"),
    ):
        assert cosines(method(TEXTS), np.load(folder / f"{name}.npy")).min() >= 0.9999


def test_an_architecture_without_graph_is_refused_with_what_is_supported() -> None:
    with pytest.raises(UnsupportedModel, match=r"'t5'.*bert, roberta.*torch"):
        Embedder(FAMILIES / "t5-unsupported" / "model").encode("text")
