"""Clients that people have, unchanged."""

from __future__ import annotations

import asyncio

import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient

from hotstart import Embedder
from support.server import Served


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_openai_client_embeds(client: openai.OpenAI) -> None:
    texts = ["a cat", "a dog"]
    answer = client.embeddings.create(model="minilm", input=texts)  # it asks for base64
    vectors = np.array([entry.embedding for entry in answer.data], np.float32)
    assert np.abs(vectors - Embedder().encode(texts)).max() < 1e-5
    assert answer.usage.total_tokens == 8
    plain = client.embeddings.create(model="minilm", input="a cat", encoding_format="float")
    assert np.allclose(plain.data[0].embedding, vectors[0], atol=1e-6)
    cut = client.embeddings.create(model="minilm", input="a cat", dimensions=16)
    assert len(cut.data[0].embedding) == 16


def test_openai_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="has no model"):
        client.embeddings.create(model="none", input="a")
    with pytest.raises(openai.BadRequestError, match="token ids"):
        client.embeddings.create(model="minilm", input=[1, 2])


def test_openai_client_lists_models(client: openai.OpenAI) -> None:
    assert "minilm" in [model.id for model in client.models.list()]
    assert client.models.retrieve("minilm").owned_by == "hotstart"


def test_async_openai_client_embeds(served: Served) -> None:
    async def ask() -> int:
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as client:
            answers = await asyncio.gather(
                *(client.embeddings.create(model="minilm", input=f"text {n}") for n in range(20))
            )
        return len({tuple(answer.data[0].embedding) for answer in answers})

    assert asyncio.run(ask()) == 20


@pytest.mark.parametrize("path", ["", "/embed"])
def test_huggingface_client_embeds(served: Served, path: str) -> None:
    client = InferenceClient(model=f"{served.url}{path}")
    vector = client.feature_extraction("a cat", normalize=True, truncate=True)
    assert np.abs(vector - Embedder().encode(["a cat"])).max() < 1e-5


def test_hotstart_client_embeds(served: Served) -> None:
    texts = [f"text {n}" for n in range(30)]
    remote = Embedder(f"hotstart:minilm@{served.url}")
    vectors = remote.encode(texts)
    assert remote.fingerprint.endswith(Embedder("all-MiniLM-L6-v2").fingerprint)
    first_model = Embedder(f"hotstart:{served.url}").encode(texts)
    np.testing.assert_allclose(first_model, vectors, atol=1e-5)
    assert np.abs(vectors - Embedder().encode(texts)).max() < 1e-5
    assert np.abs(Embedder(f"tei:{served.url}").encode(texts) - vectors).max() < 1e-5
