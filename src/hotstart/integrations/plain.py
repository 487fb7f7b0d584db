"""Vectors as the plain lists that frameworks take, made without holding up the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hotstart.embedder import Embedder
from hotstart.pool.aio import in_thread


async def query_vector(embedder: Embedder, text: str) -> list[float]:
    """Return what `embedder.embed_query` returns."""
    vector: list[float] = (await embedder.aencode_query(text)).tolist()
    return vector


async def document_vectors(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return what `embedder.embed_documents` returns."""
    return await in_thread(_rows, await embedder.aencode_document(texts))


def _rows(vectors: Iterable[Any]) -> list[list[float]]:
    # Row by row: one call for thousands of them would keep the interpreter from the loop.
    return [vector.tolist() for vector in vectors]
