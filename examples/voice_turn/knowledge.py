"""The knowledge base in Chroma: which fact is nearest to a vector."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from examples.voice_turn.questions import Fact
    from hotstart import Embedder


class Knowledge:
    """Facts and their vectors, made once by the embedder."""

    def __init__(self, facts: list[Fact]) -> None:
        import chromadb  # 0.7 s, which `--help` need not wait for
        from chromadb.config import Settings

        self.facts = facts
        client = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        self._collection = client.get_or_create_collection(
            "voice-turn", embedding_function=None, metadata={"hnsw:space": "cosine"}
        )

    async def fill(self, embedder: Embedder) -> None:
        """Store the vector of each fact."""
        texts = [f"{fact.topic}. {fact.answer}" for fact in self.facts]
        vectors = await embedder.aencode_document(texts)
        ids = [str(place) for place in range(len(texts))]
        await asyncio.to_thread(self._collection.upsert, ids=ids, embeddings=vectors)

    async def nearest(self, vector: NDArray[Any]) -> int:
        """Return the place of the fact that is nearest to `vector`."""
        query = self._collection.query
        found = await asyncio.to_thread(query, query_embeddings=[vector], n_results=1)
        return int(found["ids"][0][0])
