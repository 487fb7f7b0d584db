"""A request body: how many values it may have, and that a large one holds no loop."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.server import schemas
from hotstart.server.schemas import MOST_VALUES, BodyTooLarge, parsed
from support.server import Serve

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=50,
)


def values(content: Any) -> int:
    if isinstance(content, list):
        return 1 + sum(map(values, content))
    if isinstance(content, dict):
        return 1 + sum(map(values, content.values()))
    return 1


@given(JSON, st.sampled_from([1, 7, 64, 65_536]))
def test_the_count_is_a_bound_whatever_the_pieces(content: Any, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "_PIECE", piece)
        counted = schemas._count_values(json.dumps(content).encode(), 10**6)
    assert values(content) <= counted <= 3 * values(content) + 1


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_body_is_parsed_small_or_large(size: int) -> None:
    content = {"input": ["a, [b] {c}" * size, 'quoted " and \\\\ marks']}
    assert asyncio.run(parsed(orjson.dumps(content), 10**6 + 20)) == content


def test_too_many_values_are_refused() -> None:
    with pytest.raises(BodyTooLarge, match="more than 200000 JSON values"):
        asyncio.run(parsed(b"[" + b"1," * MOST_VALUES + b"1]", 100))
    with pytest.raises(ValueError, match="depth"):
        asyncio.run(parsed(b"[" * 100_000, 100))


def test_a_text_far_longer_than_allowed_is_refused_before_it_is_parsed() -> None:
    longest = ["\U0001f600" * 100_000, "\\" * 100_000, '"' * 100_000]
    body = json.dumps(longest).encode()
    assert asyncio.run(parsed(body, 100_000)) == longest
    with pytest.raises(BodyTooLarge, match="more than 90000 characters"):
        asyncio.run(parsed(json.dumps(["a" * 1_200_000]).encode(), 90_000))


HOSTILE: dict[str, bytes] = {
    "numbers": b'{"model": "fake", "input": ["a"' + b", 1" * 1_500_000 + b"]}",
    "some numbers": b'{"model": "fake", "input": ["a"' + b", 1" * 400_000 + b"]}",
    "fields": b"{" + b",".join(b'"f%d": 1' % n for n in range(200_000)) + b"}",
    "lists": b'{"input": [' + b"[]," * 160_000 + b"[]]}",
    "documents": b'{"query": "a", "documents": [' + b"1," * 400_000 + b"1]}",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed", "/rerank", "/v1/rerank", "/search"])
def test_a_hostile_body_is_refused_with_few_words(serve: Serve, name: str, path: str) -> None:
    served = serve({"fake": {"source": "fake:"}})
    headers = {"content-type": "application/json"}
    answer = served.client.post(path, content=HOSTILE[name], headers=headers)
    assert answer.status_code in {400, 404, 413}  # 404: there is no index to search
    assert len(answer.content) < 2000


def test_predict_obeys_the_limits(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:"}}, max_texts=10, max_characters=100)
    path = "/api/v1/models/fake/predict"
    assert served.post(path, {"inputs": ["a"] * 10}).status_code == 200
    for inputs in (["a"] * 11, "a" * 101, [["a" * 101]], [{"a": {"b": "a" * 101}}]):
        answer = served.post(path, {"inputs": inputs})
        assert answer.status_code == 400
        assert "at most" in answer.json()["detail"]
