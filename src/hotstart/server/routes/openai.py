"""The routes of OpenAI's API, and the rerank route of Jina and Cohere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Response

from hotstart.server.responses import (
    estimated,
    json_response,
    listed,
    openai_embeddings,
    raw_response,
    shortened,
)
from hotstart.server.routes import Group, Route
from hotstart.server.schemas import EmbeddingsBody, RankBody, RerankBody
from hotstart.server.service import Service

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions


_EMBEDDINGS = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}],
    "model": "all-MiniLM-L6-v2",
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
    "fingerprint": "1c9a3a8e2b7d4f60",
}
RANKING = {"model": "ranker", "results": [{"index": 1, "relevance_score": 0.9}]}
_MODEL = {"id": "all-MiniLM-L6-v2", "object": "model", "created": 0, "owned_by": "hotstart"}
_MODELS = {"object": "list", "data": [_MODEL]}


async def ranked(service: Service, body: RankBody | RerankBody) -> dict[str, Any]:
    """Return the answer of `/v1/rerank` for the documents of `body`."""
    texts = [each if isinstance(each, str) else each.text for each in body.documents or ()]
    service.check_texts(texts, "documents")
    service.check_texts([body.query], "query")
    name = service.info(body.model, "reranker").name
    ranking = await service.rank(name, body, body.query, texts, {"top_k": body.top_n})
    results: list[dict[str, Any]] = []
    for entry in ranking:
        position = entry["corpus_id"]
        result: dict[str, Any] = {"index": position, "relevance_score": entry["score"]}
        if body.return_documents:
            result["document"] = {"text": texts[position]}
        results.append(result)
    tokens = estimated(texts) + len(texts) * estimated([body.query])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"model": name, "results": results, "usage": usage}


class OpenAI(Group):
    """`/v1`, for the OpenAI client and clients of the same protocol."""

    tag = "OpenAI"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        own = tuple(
            route
            for base in ("/v1", "")  # clients whose base URL lacks /v1
            for route in (
                Route.post(f"{base}/embeddings", self.embeddings, "Embed texts", _EMBEDDINGS),
                Route.get(f"{base}/models", self.models, "List the models", _MODELS),
                Route.get(f"{base}/models/{{name}}", self.model, "Get one model", _MODEL),
            )
        )
        rerank = Route.post("/v1/rerank", self.rerank, "Rank documents by relevance", RANKING)
        return (*own, rerank)

    async def embeddings(self, body: EmbeddingsBody) -> Response:
        """Return the vector of each text, in the order of the texts."""
        texts = listed(body.input)
        self.service.check_texts(texts, "input")
        name = self.service.info(body.model, "embedding").name
        options: EncodeOptions = {}
        if body.prompt_name is not None:
            options["prompt_name"] = body.prompt_name
        result = await self.service.embed(name, body, texts, options)
        tokens = estimated(texts) if result.tokens is None else result.tokens
        content = await openai_embeddings(
            shortened(result.vectors, body.dimensions),
            body.encoding_format,
            model=name,
            tokens=tokens,
            fingerprint=result.fingerprint,
        )
        return raw_response(content)

    async def rerank(self, body: RankBody) -> Response:
        """Return the positions and scores of the documents, best first."""
        return json_response(await ranked(self.service, body))

    async def models(self) -> Response:
        """List the embedding models and rerankers."""
        infos = self.service.registry.models().values()
        answering = [info for info in infos if info.kind in {"embedding", "reranker"}]
        names = [name for info in answering for name in (info.name, *info.names)]
        return json_response({"object": "list", "data": [self._described(name) for name in names]})

    async def model(self, name: str) -> Response:
        """Return one model."""
        self.service.info(name)
        return json_response(self._described(name))

    def _described(self, name: str) -> dict[str, Any]:
        created = int(self.service.started)
        return {"id": name, "object": "model", "created": created, "owned_by": "hotstart"}
