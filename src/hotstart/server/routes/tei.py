"""The routes of text-embeddings-inference."""

from __future__ import annotations

from functools import partial

from fastapi import Response

from hotstart._version import __version__
from hotstart.server.responses import json_response, listed, plain_embeddings, raw_response
from hotstart.server.routes import Group, Route
from hotstart.server.routes.openai import embedded, ranked
from hotstart.server.schemas import EmbedBody, RerankBody


class TextEmbeddingsInference(Group):
    """The routes `/embed`, `/rerank` and `/info`."""

    tag = "text-embeddings-inference"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        vectors = [[0.1, -0.2], [0.3, 0.4]]
        return (
            Route("/embed", self.embed, "POST", "Embed texts", vectors),
            Route("/", self.embed, "POST", "Embed texts", vectors),
            Route(
                *("/rerank", self.rerank, "POST", "Order texts by how well they answer"),
                [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}],
            ),
            Route(
                *("/info", self.info, "GET", "Tell of the model that /embed asks"),
                {"model_id": "all-MiniLM-L6-v2", "max_input_length": 256, "version": "0.1.0"},
            ),
        )

    async def embed(self, body: EmbedBody) -> Response:
        """Answer with the vector of each text, in their order."""
        texts = listed(body.inputs)
        self.service.check_texts(texts, "inputs")
        name = self.service.entry(body.model, "embedding").name
        given = {"prompt_name": body.prompt_name, "truncate_dim": body.dimensions}
        options = {name: value for name, value in given.items() if value is not None}
        options["normalize_embeddings"] = body.normalize
        told = await self.service.call(name, body, partial(embedded, texts, options))
        return raw_response(await plain_embeddings(told.output.vectors))

    async def rerank(self, body: RerankBody) -> Response:
        """Answer with the texts' places and scores, best first."""
        self.service.check_texts(body.texts, "texts")
        self.service.check_texts([body.query], "query")
        name = self.service.entry(body.model, "reranker").name
        options = {"activation": "identity" if body.raw_scores else None}
        rank = partial(ranked, body.query, body.texts, options)
        told = await self.service.call(name, body, rank)
        return json_response(
            [
                {"index": each["corpus_id"], "score": each["score"]}
                | ({"text": body.texts[each["corpus_id"]]} if body.return_text else {})
                for each in told.output
            ]
        )

    async def info(self) -> Response:
        """Tell of the model that `/embed` asks, and of the server's limits."""
        config = self.service.config
        entry = self.service.entry(None, "embedding")
        model = self.service.registry.face(entry.name)
        return json_response(
            {
                "model_id": entry.name,
                "model_sha": None,
                "model_dtype": "float32",
                "model_type": {"embedding": {"pooling": "model"}},
                "max_input_length": model.max_seq_length,
                "max_client_batch_size": config.max_texts,
                "max_concurrent_requests": None,
                "max_batch_tokens": None,
                "auto_truncate": True,
                "version": __version__,
            }
        )
