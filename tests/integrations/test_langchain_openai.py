"""LangChain's OpenAI embeddings against the server, unchanged."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from hotstart import Embedder
from support.server import Served, served

pytestmark = pytest.mark.integrations

__all__ = ["served"]


def test_langchain_s_openai_embeddings(served: Served) -> None:
    from langchain_openai import OpenAIEmbeddings

    embeddings = OpenAIEmbeddings(
        model="minilm",
        base_url=f"{served.url}/v1",
        api_key="none",  # type: ignore[arg-type, unused-ignore]
        check_embedding_ctx_length=False,  # else it sends the token ids of OpenAI's own tokenizer
    )
    texts = ["a cat", "a dog", "something else"]
    expected = Embedder().encode(texts)
    assert np.abs(np.array(embeddings.embed_documents(texts)) - expected).max() < 1e-5
    assert np.abs(np.array(embeddings.embed_query("a cat")) - expected[0]).max() < 1e-5

    async def ask() -> list[list[float]]:
        try:
            return list(await embeddings.aembed_documents(texts))
        finally:
            await embeddings.async_client._client.close()  # its connections are of this loop

    awaited = asyncio.run(ask())
    assert np.abs(np.array(awaited) - expected).max() < 1e-5
