"""OpenAI's routes, in the shapes that its clients know."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from support.golden import FAMILIES
from support.server import Serve, Served

LONG = str(FAMILIES / "bert-cls-mean" / "model")
"""A model whose vectors do not have length 1."""


def embed(served: Served, **body: Any) -> Any:
    return served.post("/v1/embeddings", {"model": "minilm", **body})


def test_embeddings_match_embedder(served: Served) -> None:
    texts = ["a cat", "another text of more words", ""]
    answer = embed(served, input=texts).json()
    assert [entry["index"] for entry in answer["data"]] == [0, 1, 2]
    assert {entry["object"] for entry in answer["data"]} == {"embedding"}
    vectors = np.array([entry["embedding"] for entry in answer["data"]], np.float32)
    assert np.abs(vectors - Embedder().encode(texts)).max() < 1e-5
    assert answer["object"] == "list"
    assert answer["model"] == "minilm"
    expected = Embedder().count_tokens(texts)
    assert answer["usage"] == {"prompt_tokens": expected, "total_tokens": expected}


def test_single_text_returns_list_of_one(served: Served) -> None:
    assert len(embed(served, input="a cat").json()["data"]) == 1


def test_base64_is_little_endian_float32(served: Served) -> None:
    as_numbers = embed(served, input=["a cat", "a dog"]).json()["data"]
    as_text = embed(served, input=["a cat", "a dog"], encoding_format="base64").json()["data"]
    for numbers, text in zip(as_numbers, as_text, strict=True):
        decoded = np.frombuffer(base64.b64decode(text["embedding"]), "<f4")
        assert np.allclose(decoded, numbers["embedding"], atol=1e-6)


def test_dimensions_keeps_leading_ones(served: Served) -> None:
    whole = embed(served, input="a cat").json()["data"][0]["embedding"]
    for form in ("float", "base64"):
        cut = embed(served, input="a cat", dimensions=7, encoding_format=form).json()
        value = cut["data"][0]["embedding"]
        decoded = value if form == "float" else np.frombuffer(base64.b64decode(value), "<f4")
        assert np.allclose(decoded, whole[:7] / np.linalg.norm(whole[:7]), atol=1e-6)


def test_tokens_of_cached_vectors_are_estimated(served: Served) -> None:
    for _ in range(2):
        answer = served.post("/v1/embeddings", {"model": "cached", "input": "a text of words"})
        assert answer.json()["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"input": [1, 2, 3]}, 400, "token ids"),
        ({"input": [[1, 2], [3]]}, 400, "token ids"),
        ({"input": []}, 400, "at least one"),
        ({"input": 7}, 400, "input"),
        ({"input": ["a", None]}, 400, "input"),
        ({}, 400, "input"),
        ({"input": "a", "dimensions": -1}, 400, "dimensions"),
        ({"input": "a", "dimensions": 385}, 400, "385"),
        ({"input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": "a", "model": "none"}, 404, "none"),
        ({"input": "a", "model": "ranker"}, 400, "reranker"),
        ({"input": "a", "model": "../minilm"}, 400, "model"),
        ({"input": "a", "model": "/etc/passwd"}, 400, "model"),
        ({"input": "a", "model": "https://example.org/m"}, 400, "model"),
        ({"input": "a", "model": "owner/name"}, 404, "owner/name"),
        ({"input": "a", "model": "owner/name/x"}, 400, "model"),
        ({"input": "a", "output_dtype": "int8"}, 400, "output_dtype"),
        ({"input": "a", "truncation": False}, 400, "truncation"),
        ({"input": "a", "dimension": 7}, 400, "Did you mean dimensions?"),
        ({"input": "a", **{f"f{n}": 1 for n in range(99)}}, 400, "at most 100 fields"),
        ({"input": "a", "revision": "main"}, 400, "revision"),
        ({"input": "a", "trust_remote_code": True}, 400, "trust_remote_code"),
        ({"input": "a", "source": "fake:"}, 400, "source"),
        ({"input": ["a"] * 101}, 400, "at most 100"),
        ({"input": "a" * 1001}, 400, "1000 characters"),
        ({"input": "\ud800"}, 400, ""),
        ({"input": "a", "timeout": -1}, 400, "timeout"),
        ({"input": "a", "timeout": "soon"}, 400, "timeout"),
        ({"input": "a", "keep_alive": -2}, 400, "keep_alive"),
    ],
)
def test_invalid_request_returns_openai_error(
    served: Served, body: dict[str, Any], status: int, said: str
) -> None:
    before = len(served.registry.models())
    content = __import__("json").dumps({"model": "minilm", **body})
    answer = served.client.post(
        "/v1/embeddings", content=content, headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert said in error["message"]
    assert len(served.registry.models()) == before


def test_invalid_json_is_refused(served: Served) -> None:
    for content in (b"", b"{", b"[]", b"null", b"\xff", b'{"model": "minilm", "input": NaN}'):
        answer = served.client.post(
            "/v1/embeddings", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, content
        assert "error" in answer.json()


def test_models_route_lists_and_returns_models(served: Served) -> None:
    listed = served.get("/v1/models").json()
    assert [model["id"] for model in listed["data"]] == ["minilm", "fake", "cached", "ranker"]
    assert served.get("/v1/models/minilm").json() == listed["data"][0]
    assert served.get("/v1/models/none").status_code == 404
    assert served.get("/v1/models/..%2Fx").status_code == 400


def test_rerank_orders_documents(served: Served) -> None:
    documents = ["one", {"text": "two"}, "three"]
    asked = {"model": "ranker", "query": "which?", "documents": documents}
    answer = served.post("/v1/rerank", {**asked, "top_n": 2, "return_documents": True}).json()
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 2
    texts = ["one", "two", "three"]
    assert all(r["document"]["text"] == texts[r["index"]] for r in answer["results"])
    assert "document" not in served.post("/v1/rerank", asked).json()["results"][0]
    assert served.post("/v1/rerank", {**asked, "model": "minilm"}).status_code == 400
    assert served.post("/v1/rerank", {**asked, "documents": []}).status_code == 400


def test_null_is_absent_and_harmless_fields_are_named(served: Served) -> None:
    plain = embed(served, input="a cat").json()
    zero = {"dimensions": 0, "modality": "text"}  # of infinity's client
    assert embed(served, input="a cat", **zero).json() == plain
    unnamed = served.post("/embeddings", {"input": "a cat", "model": "default/not-specified"})
    assert unnamed.json() == plain
    nulls = {"encoding_format": None, "dimensions": None, "user": None, "output_dtype": None}
    harmless = {"output_dtype": "float", "truncation": True, "max_tokens_per_doc": 7, "x\n": 1}
    answer = embed(served, input="a cat", **nulls)
    assert (answer.json(), "x-ignored-fields" in answer.headers) == (plain, False)
    answer = embed(served, input="a cat", **harmless)
    assert answer.json() == plain
    assert answer.headers["x-ignored-fields"] == "output_dtype, truncation, max_tokens_per_doc"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"output_dimension": 7}, {"dimensions": 7}),
        ({"input_type": "search_query"}, {"prompt_name": "query"}),
        ({"task": "retrieval.passage"}, {"prompt_name": "document"}),
    ],
)
def test_the_fields_of_other_services(
    served: Served, theirs: dict[str, Any], ours: dict[str, Any]
) -> None:
    assert (
        embed(served, input="a cat", **theirs).json() == embed(served, input="a cat", **ours).json()
    )


@pytest.mark.parametrize(
    "name", ["minilm", "minilm:latest", "sentence-transformers/all-MiniLM-L6-v2"]
)
def test_a_model_by_any_of_its_names(served: Served, name: str) -> None:
    answer = served.post("/v1/embeddings", {"model": name, "input": "a"})
    assert answer.json()["model"] == "minilm"
    assert served.get(f"/v1/models/{name}").json()["id"] == name
    predicted = served.post(f"/api/v1/models/{name}/predict", {"inputs": "a"})
    assert predicted.json()["model"] == "minilm"


def test_the_routes_without_v1(served: Served) -> None:
    body = {"model": "minilm", "input": "a"}
    assert served.post("/embeddings", body).json() == served.post("/v1/embeddings", body).json()
    assert served.get("/models").json() == served.get("/v1/models").json()
    assert "error" in served.post("/embeddings", {}).json()
    asked = {"query": "which?", "documents": ["one", {"text": "two"}]}
    assert served.post("/rerank", asked).json() == served.post("/v1/rerank", asked).json()


def test_cut_vectors_have_length_1_where_whole_ones_have_it(serve: Serve) -> None:
    served = serve({"unit": {"source": "all-MiniLM-L6-v2"}, "long": {"source": LONG}})
    for model, is_unit in (("unit", True), ("long", False)):
        answer = served.post("/v1/embeddings", {"model": model, "input": "a", "dimensions": 5})
        length = np.linalg.norm(answer.json()["data"][0]["embedding"])
        assert (abs(length - 1) < 1e-6) == is_unit


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"model": ', "The body is not JSON: broken at character"),
        (b"[]", "the body: it must be a JSON object"),
        (b'{"model": "", "input": "a"}', "model: it must be the name of a registered model"),
    ],
)
def test_a_wrong_body_is_told_in_plain_words(served: Served, content: bytes, told: str) -> None:
    headers = {"content-type": "application/json"}
    answer = served.client.post("/v1/embeddings", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(told)
