"""text-embeddings-inference's routes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hotstart import Embedder, Reranker
from support.server import RERANKER, Serve, Served


def test_embed_returns_normalized_vectors_by_default(
    served: Served,
) -> None:
    vectors = np.array(served.post("/embed", {"inputs": ["a", "b c"]}).json(), np.float32)
    assert np.abs(vectors - Embedder().encode(["a", "b c"])).max() < 1e-5
    raw = served.post("/embed", {"inputs": "a", "model": "fake", "normalize": False}).json()
    assert np.array(raw).shape == (1, 4)
    cut = np.array(served.post("/embed", {"inputs": "a", "dimensions": 5}).json())
    assert cut.shape == (1, 5)
    assert abs(np.linalg.norm(cut) - 1) < 1e-5


def test_root_route_embeds(served: Served) -> None:
    asked = {"inputs": "a", "truncate": True}
    assert served.post("/", asked).json() == served.post("/embed", asked).json()


def test_embed_reads_the_options_of_older_huggingface_clients(served: Served) -> None:
    """huggingface_hub before 1.0 sends them as `parameters`."""
    nested = {"inputs": "a", "model": "fake", "parameters": {"normalize": False, "truncate": True}}
    plain = {"inputs": "a", "model": "fake", "normalize": False, "truncate": True}
    assert served.post("/embed", nested).json() == served.post("/embed", plain).json()
    answer = served.post("/embed", {"inputs": "a", "parameters": {"unheard": 1}})
    assert answer.headers["x-ignored-fields"] == "unheard"


def test_rerank_orders_texts(served: Served) -> None:
    texts = ["one", "two", "three"]
    asked = {"query": "which?", "texts": texts}
    answer = served.post("/rerank", {**asked, "return_text": True}).json()
    expected = Reranker(RERANKER).rank("which?", texts)
    assert [each["index"] for each in answer] == [each["corpus_id"] for each in expected]
    assert [each["text"] for each in answer] == [texts[each["index"]] for each in answer]
    raw = served.post("/rerank", {**asked, "raw_scores": True}).json()
    logits = Reranker(RERANKER).rank("which?", texts, activation="identity")
    assert np.allclose([r["score"] for r in raw], [e["score"] for e in logits], atol=1e-5)


def test_info_returns_model_and_limits(served: Served) -> None:
    told = served.get("/info").json()
    assert (told["model_id"], told["max_input_length"]) == ("all-MiniLM-L6-v2", 256)
    assert [told[name] for name in ("served_model_name", "engine", "status")] == [
        "minilm",
        "onnx",
        "ready",
    ]
    for name in ("max_concurrent_requests", "max_batch_tokens"):
        assert isinstance(told[name], int)
    assert told["max_client_batch_size"] == 100


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": []},
        {"inputs": [1]},
        {"inputs": "a " * 400, "truncate": False},
        {"inputs": "a", "prompt_name": "none"},
        {"inputs": "a", "model": "rows"},
        {"inputs": "a", "path": "/etc"},
        {"inputs": [["a", "b"]]},
    ],
)
def test_invalid_request_returns_problem(served: Served, body: dict[str, Any]) -> None:
    answer = served.post("/embed", body)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 400
    assert problem["detail"]
    assert "must" in problem["detail"] or problem["remedy"]


def test_missing_kind_is_reported(serve: Serve) -> None:
    served = serve({"rows": {"kind": "custom", "source": "json:JSONDecoder"}})
    assert "embedding" in served.post("/embed", {"inputs": "a"}).json()["detail"]
    assert served.get("/info").status_code == 400
    assert served.post("/rerank", {"query": "a", "texts": ["b"]}).status_code == 400


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_info_returns_the_precision_of_the_weights(serve: Serve, precision: str) -> None:
    served = serve({"small": {"source": "all-MiniLM-L6-v2", "precision": precision}})
    assert served.get("/info").json()["model_dtype"] == precision
