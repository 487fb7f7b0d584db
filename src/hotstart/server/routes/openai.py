"""The routes of OpenAI, and the rerank route of Jina and Cohere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Response

from hotstart.server.responses import (
    estimated,
    json_response,
    listed,
    openai_embeddings,
    raw_response,
)
from hotstart.server.routes import Group, Route
from hotstart.server.schemas import EmbeddingsBody, RankBody
from hotstart.types import EmbeddingResult


async def embedded(
    texts: Sequence[str], options: dict[str, Any], model: Any, timeout: float | None
) -> EmbeddingResult:
    """Return the vectors of `texts` with their provenance, by an `Embedder`."""
    result: EmbeddingResult = await model.aembed(texts, timeout=timeout, **options)
    return result


async def ranked(
    query: str, texts: Sequence[str], options: dict[str, Any], model: Any, timeout: float | None
) -> list[dict[str, Any]]:
    """Return the places and scores of `texts`, best first, by a `Reranker`."""
    found: list[dict[str, Any]] = await model.arank(query, texts, timeout=timeout, **options)
    return found


class OpenAI(Group):
    """The routes below `/v1`."""

    tag = "OpenAI"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        model = {"id": "all-MiniLM-L6-v2", "object": "model", "created": 0, "owned_by": "hotstart"}
        return (
            Route(
                *("/v1/embeddings", self.embeddings, "POST", "Embed texts"),
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
                    "model": "all-MiniLM-L6-v2",
                    "usage": {"prompt_tokens": 4, "total_tokens": 4},
                },
            ),
            Route(
                *("/v1/rerank", self.rerank, "POST", "Order documents by how well they answer"),
                {"model": "ranker", "results": [{"index": 1, "relevance_score": 0.9}]},
            ),
            Route(
                *("/v1/models", self.models, "GET", "List the models"),
                {"object": "list", "data": [model]},
            ),
            Route("/v1/models/{name}", self.model, "GET", "Tell of one model", model),
        )

    async def embeddings(self, body: EmbeddingsBody) -> Response:
        """Answer with the vector of each text, in their order."""
        texts = listed(body.input)
        self.service.check_texts(texts, "input")
        name = self.service.entry(body.model, "embedding").name
        options = {} if body.dimensions is None else {"truncate_dim": body.dimensions}
        told = await self.service.call(name, body, partial(embedded, texts, options))
        made = told.output
        tokens = estimated(texts) if made.tokens is None else made.tokens
        answer = (made.vectors, body.encoding_format, body.model, tokens)
        return raw_response(await openai_embeddings(*answer))

    async def rerank(self, body: RankBody) -> Response:
        """Answer with the documents' places and scores, best first."""
        texts = [each if isinstance(each, str) else each.text for each in body.documents]
        self.service.check_texts(texts, "documents")
        self.service.check_texts([body.query], "query")
        name = self.service.entry(body.model, "reranker").name
        rank = partial(ranked, body.query, texts, {"top_k": body.top_n})
        told = await self.service.call(name, body, rank)
        results = [
            {"index": place, "relevance_score": each["score"]}
            | ({"document": {"text": texts[place]}} if body.return_documents else {})
            for each in told.output
            for place in [each["corpus_id"]]
        ]
        used = {"total_tokens": estimated(texts) + len(texts) * estimated([body.query])}
        return json_response({"model": body.model, "results": results, "usage": used})

    async def models(self) -> Response:
        """List what can be asked here."""
        entries = self.service.registry.entries().values()
        asked = [entry for entry in entries if entry.model_type in {"embedding", "reranker"}]
        return json_response({"object": "list", "data": [self._told(e.name) for e in asked]})

    async def model(self, name: str) -> Response:
        """Tell of one model."""
        return json_response(self._told(self.service.entry(name).name))

    def _told(self, name: str) -> dict[str, Any]:
        created = int(self.service.started)
        return {"id": name, "object": "model", "created": created, "owned_by": "hotstart"}
