"""LlamaIndex's `BaseEmbedding`."""

from __future__ import annotations

from typing import Any

from hotstart._lazy import brought_by
from hotstart.embedder import DEFAULT_MODEL, Embedder
from hotstart.integrations import (
    check_written,
    document_vectors,
    public_name,
    query_vector,
    written,
)

with brought_by("llamaindex", "llama_index"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_serializer


class HotstartEmbedding(BaseEmbedding):
    """An embedding model for LlamaIndex. The constructor loads nothing; it is thread-safe.

    `to_dict` and `to_json` leave out passwords, `cache` and permissions.

    Attributes:
        model_name: name or folder of the model, see `Embedder`.
        options: options of `Embedder`, for example `strategy`, `truncate_dim` or `cache`.
        embed_batch_size: texts per call; the engine divides them into batches.
    """

    model_name: str = Field(default=DEFAULT_MODEL, description="A model's name or folder.")
    options: dict[str, Any] = Field(default_factory=dict, description="Options of Embedder.")
    embed_batch_size: int = Field(default=256, description="Texts at a time.", gt=0, le=2048)
    _embedder: Embedder = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Create the embedder; a copy in another process creates its own."""
        super().model_post_init(context)
        self._embedder = Embedder(self.model_name, **self.options)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this class in serialized form."""
        return "HotstartEmbedding"

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> HotstartEmbedding:
        """Build a serialized model; raise InvalidInput for an option that only code may set."""
        check_written(data.get("options") or {})
        embedding: HotstartEmbedding = super().from_dict(data, **kwargs)
        return embedding

    @property
    def embedder(self) -> Embedder:
        """The `Embedder`, for example to load it early or to read its `fingerprint`."""
        return self._embedder

    def to_payload(self) -> dict[str, Any]:
        """Return the payload of instrumentation events, without secrets."""
        return {**super().to_payload(), "model_name": public_name(self.model_name)}

    @field_serializer("model_name")
    def _written_name(self, model_name: str) -> str:
        return public_name(model_name)

    @field_serializer("options")
    def _written_options(self, options: dict[str, Any]) -> dict[str, Any]:
        return written(options)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.embed_query(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embedder.embed_documents([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.embed_documents(texts)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await query_vector(self._embedder, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await document_vectors(self._embedder, [text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await document_vectors(self._embedder, texts)
