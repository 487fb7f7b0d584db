"""Live, beside torch: modules of sentence-transformers, each added to a tiny model."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.models.modules import DENSE_ACTIVATIONS, POOLINGS
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, cosines, family_texts

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
SOURCE = FAMILIES / "bert-mean-normalize" / "model"


def saved(folder: Path, *modules: Any, **options: Any) -> Any:
    """A model of the family's transformer and `modules`, as sentence-transformers loads it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    torch.manual_seed(len(str(modules)))
    transformer = Transformer(str(SOURCE))
    made = SentenceTransformer(modules=[transformer, *modules], device="cpu", **options)
    made.save(str(folder), create_model_card=False)
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})


@pytest.mark.parametrize("activation", DENSE_ACTIVATIONS)
def test_activations(tmp_path: Path, activation: str) -> None:
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Pooling
    from torch import nn

    dense = Dense(32, 24, activation_function=getattr(nn, activation)())
    dense.linear.weight.data *= 4  # beyond the bends of every activation
    model = saved(tmp_path, Pooling(32), dense)
    texts = family_texts()
    expected = np.stack([model.encode(text) for text in texts])
    for engine in ("onnx", "openvino"):
        found = Embedder(tmp_path, engine=engine, pool=Pool()).encode(texts)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


NAMES = ("sentence_embedding", "token_embeddings", "another")


@pytest.mark.parametrize(("reads", "writes"), [*itertools.product(NAMES[:2], NAMES)])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("residual", [False, True])
def test_names_of_values(
    tmp_path: Path, reads: str, writes: str, place: str, residual: bool
) -> None:
    """Every combination that sentence-transformers computes gives its vectors."""
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

    names = {"module_input_name": reads, "module_output_name": writes}
    dense = Dense(32, 32, use_residual=residual, **names)
    pooling = Pooling(32, "mean")
    order = [dense, pooling] if place == "before" else [pooling, dense]
    model = saved(tmp_path, *order, LayerNorm(32), Normalize(module_input_name="token_embeddings"))
    texts = family_texts()
    try:
        expected = np.stack([model.encode(text) for text in texts])
        assert expected.shape == (len(texts), 32)
    except (KeyError, AssertionError, RuntimeError, ValueError):
        return  # such a model does not run there
    found = Embedder(tmp_path, pool=Pool()).encode(texts)
    assert cosines(found, expected).min() >= 0.99999
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mode", [*POOLINGS, ("cls", "mean", "lasttoken")])
@pytest.mark.parametrize("prompt", ["query: ", "Represent it for retrieval: ", "[SEP]", ""])
def test_include_prompt(tmp_path: Path, mode: Any, prompt: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    prompts = {"query": prompt, "document": "passage: "}
    model = saved(tmp_path, Pooling(32, mode, include_prompt=False), prompts=prompts)
    embedder = Embedder(tmp_path, pool=Pool())
    texts = family_texts()
    for name in ("encode", "encode_query", "encode_document"):
        expected = np.stack([getattr(model, name)(text) for text in texts])
        found = getattr(embedder, name)(texts)
        assert cosines(found, expected).min() >= 0.99999, name
