"""Live, beside torch: models with a Router of sentence-transformers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.errors import InvalidInput
from hotstart.models.routes import TASKS, routes_of
from hotstart.pool.pool import Pool
from support.golden import FAMILIES, SPARSE, family_texts

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
METHODS = {"encode": "", "encode_query": "query", "encode_document": "document"}
PROMPTS = {"query": "search query: ", "document": "passage: "}


def transformer(family: str) -> Any:
    from sentence_transformers.base.modules import Transformer

    return Transformer(str(FAMILIES / family / "model"))


def pooling(mode: str, **options: Any) -> Any:
    from sentence_transformers.sentence_transformer.modules import Pooling

    return Pooling(32, mode, **options)


def dense(name: str) -> Any:
    import torch
    from sentence_transformers.base.modules import Dense

    layer = Dense(32, 16)
    chance = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for values in layer.parameters():
            values.copy_(torch.randn(values.shape, generator=chance) / 4)
    return layer


def router(query: list[Any], document: list[Any], **options: Any) -> Any:
    from sentence_transformers.base.modules import Router

    return Router({"query": query, "document": document}, **options)


def two_transformers() -> list[Any]:
    from sentence_transformers.base.modules import Normalize

    query = [transformer("bert-cls"), pooling("cls"), dense("query")]
    document = [transformer("distilbert-mean"), pooling("mean"), dense("documents")]
    return [router(query, document, default_route="document"), Normalize()]


def shared_transformer() -> list[Any]:
    shared = transformer("modernbert-cls")
    query = [shared, pooling("cls", include_prompt=False)]
    return [router(query, [shared, pooling("mean")])]


def dense_routes() -> list[Any]:
    routes = router([dense("query")], [dense("documents")], default_route="query")
    return [transformer("distilbert-mean"), pooling("mean"), routes]


def static_queries() -> list[Any]:
    import torch
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(FAMILIES / "bert-cls" / "model" / "tokenizer.json"))
    chance = torch.Generator().manual_seed(7)
    table = torch.randn(tokenizer.get_vocab_size(), 32, generator=chance)
    query = [StaticEmbedding(tokenizer, embedding_weights=table)]
    return [router(query, [transformer("bert-cls"), pooling("mean")]), Normalize()]


def no_default() -> list[Any]:
    query = [transformer("bert-cls"), pooling("cls")]
    document = [transformer("distilbert-mean"), pooling("mean")]
    return [router(query, document, allow_empty_key=False)]


@pytest.mark.parametrize(
    "make", [two_transformers, shared_transformer, dense_routes, static_queries, no_default]
)
@pytest.mark.parametrize("prompts", [None, PROMPTS])
def test_vectors(tmp_path: Path, make: Callable[[], list[Any]], prompts: Any) -> None:
    from sentence_transformers import SentenceTransformer

    made = SentenceTransformer(modules=make(), prompts=prompts, device="cpu")
    made.save(str(tmp_path), create_model_card=False)
    model = SentenceTransformer(str(tmp_path), device="cpu", model_kwargs={"dtype": "float32"})
    embedders = [Embedder(tmp_path, engine=engine, pool=Pool()) for engine in ("onnx", "openvino")]
    texts = [text for text in family_texts() if text]
    for method in METHODS:
        try:
            expected = np.stack([getattr(model, method)([text])[0] for text in texts])
        except ValueError:
            for embedder in embedders:
                with pytest.raises(InvalidInput, match="task"):
                    getattr(embedder, method)(texts)
            continue
        for embedder in embedders:
            found = getattr(embedder, method)(texts)
            largest = np.abs(expected).max()
            np.testing.assert_allclose(found / largest, expected / largest, atol=2e-5)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("most", [None, 3])
def test_weights(tmp_path: Path, alone: bool, most: int | None) -> None:
    from sentence_transformers import SparseEncoder

    folder = str(SPARSE / "router" / "model")
    model = SparseEncoder(folder, device="cpu")
    if alone:
        table = model[0].sub_modules["query"][0]
        SparseEncoder(modules=[table], device="cpu").save(str(tmp_path), create_model_card=False)
        folder = str(tmp_path)
        model = SparseEncoder(folder, device="cpu")
    embedder = Embedder(folder, kind="sparse", pool=Pool())
    texts = [text for text in family_texts() if text.strip()]
    for method, task in METHODS.items():
        encode = getattr(model, method)
        for text, embedding in zip(
            texts, embedder.encode_sparse(texts, task=task, max_active_dims=most), strict=True
        ):
            expected = encode([text], convert_to_sparse_tensor=False, max_active_dims=most)[0]
            found = np.zeros(expected.shape, np.float32)
            found[embedding.indices] = embedding.values
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(40))
def test_routes_of_tasks(tmp_path: Path, seed: int) -> None:
    import torch
    from sentence_transformers.base.modules import Router

    chance = random.Random(seed)
    names = chance.sample(["query", "document", "text", "image", "other"], chance.randint(1, 4))
    options: dict[str, Any] = {
        "default_route": chance.choice([None, *names]),
        "allow_empty_key": chance.random() < 0.5,
        "route_mappings": {
            (chance.choice([None, "query", "document"]), chance.choice([None, "text", "image"])): (
                chance.choice(names)
            )
            for _ in range(chance.randint(0, 2))
        },
    }
    modules = {name: [dense(name)] for name in names}
    made = Router(modules, **options)
    (tmp_path / "modules.json").write_text(
        '[{"type": "sentence_transformers.base.modules.router.Router", "path": ""}]'
    )
    made.save(str(tmp_path))
    expected = {}
    for task in TASKS:
        try:
            with torch.inference_mode():
                made.eval()
                expected[task] = made._resolve_route(task or None, "text")
        except ValueError:
            continue
    if not expected:
        return
    found = {
        task: route.modules[0][1].removesuffix("_0_Dense")
        for route in routes_of(str(tmp_path))
        for task in route.tasks
    }
    assert found == expected
