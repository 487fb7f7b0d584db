"""What routes ask of a model: awaited with the model and the seconds left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotstart.types import Embedding


async def embedded(
    texts: Sequence[str], options: dict[str, Any], model: Any, timeout: float | None
) -> Embedding:
    """Return the vectors of `texts` and whose they are, by an `Embedder`."""
    made: Embedding = await model.aanswer(texts, timeout=timeout, **options)
    return made


async def ranked(
    query: str, texts: Sequence[str], options: dict[str, Any], model: Any, timeout: float | None
) -> list[dict[str, Any]]:
    """Return the places and scores of `texts`, best first, by a `Reranker`."""
    found: list[dict[str, Any]] = await model.arank(query, texts, timeout=timeout, **options)
    return found
