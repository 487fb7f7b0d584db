"""The routes of text-embeddings-inference."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fastapi import Response

from hotstart._version import __version__
from hotstart.engines.graph import TOKEN_BUDGET
from hotstart.pool.aio import in_thread
from hotstart.server.config import BACKLOG
from hotstart.server.responses import json_response, listed, plain_embeddings, raw_response
from hotstart.server.routes import Group, Route
from hotstart.server.routes.openai import RANKING, ranked
from hotstart.server.schemas import EmbedBody, RerankBody
from hotstart.system import available_cores

if TYPE_CHECKING:
    from hotstart.encoding import EncodeOptions
    from hotstart.scoring import RankOptions


_VECTORS = [[0.1, -0.2], [0.3, 0.4]]
_RANKING = [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}]
_INFO = {"model_id": "all-MiniLM-L6-v2", "max_input_length": 256, "version": "0.1.0"}


class TextEmbeddingsInference(Group):
    """`/embed`, `/rerank` and `/info`, for the named model or the first of its kind."""

    tag = "text-embeddings-inference"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (
            Route.post("/embed", self.embed, "Embed texts", _VECTORS),
            Route.post("/", self.embed, "Embed texts", _VECTORS),
            Route.post("/rerank", self.rerank, "Rank texts by relevance", (_RANKING, RANKING)),
            Route.get("/info", self.info, "Get the model that /embed uses", _INFO),
        )

    async def embed(self, body: EmbedBody) -> Response:
        """Return the vector of each text, in the order of the texts."""
        texts = listed(body.inputs)
        self.service.check_texts(texts, "inputs")
        name = self.service.info(body.model, "embedding").name
        options: EncodeOptions = {"normalize_embeddings": body.normalize}
        if body.prompt_name is not None:
            options["prompt_name"] = body.prompt_name
        if body.dimensions is not None:
            options["truncate_dim"] = body.dimensions
        if not body.truncate:
            await in_thread(self.service.refuse_long_texts, name, texts, waits=True)
        result = await self.service.embed(name, body, texts, options)
        return raw_response(await plain_embeddings(result.vectors))

    async def rerank(self, body: RerankBody) -> Response:
        """Return the positions and scores of the texts, best first."""
        if body.texts is None:
            return json_response(await ranked(self.service, body))
        self.service.check_texts(body.texts, "texts")
        self.service.check_texts([body.query], "query")
        name = self.service.info(body.model, "reranker").name
        options: RankOptions = {"activation": "identity" if body.raw_scores else None}
        ranking = await self.service.rank(name, body, body.query, body.texts, options)
        results: list[dict[str, Any]] = []
        for entry in ranking[: body.top_n]:
            position = entry["corpus_id"]
            result: dict[str, Any] = {"index": position, "score": entry["score"]}
            if body.return_text:
                result["text"] = body.texts[position]
            results.append(result)
        return json_response(results)

    async def info(self) -> Response:
        """Return the model that `/embed` uses, and the limits of the server."""
        config = self.service.config
        info = self.service.info(None, "embedding")
        served = info.leading.served()
        embedder = served.handle
        return json_response(
            {
                "model_id": embedder.model,
                "served_model_name": info.name,
                "model_sha": None,
                "model_dtype": served.precision,
                "model_type": {"embedding": {"pooling": "model"}},
                "engine": embedder.engine,
                "status": info.status,
                "max_input_length": embedder.max_seq_length or sys.maxsize,
                "max_client_batch_size": config.max_texts,
                "max_concurrent_requests": BACKLOG,
                "max_batch_tokens": TOKEN_BUDGET,
                "max_batch_requests": None,
                "tokenization_workers": available_cores(),
                "auto_truncate": True,
                "version": __version__,
            }
        )
