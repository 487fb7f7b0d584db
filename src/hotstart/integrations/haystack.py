"""Haystack's text embedder and document embedder."""

from __future__ import annotations

from dataclasses import replace
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

with brought_by("haystack", "haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict


class _Component:
    """The base of both components. Haystack recreates each class, so neither can call
    `super()`.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        prefix: str = "",
        suffix: str = "",
        options: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.prefix = prefix
        self.suffix = suffix
        self.options = options or {}
        self.embedder = Embedder(model, **self.options)

    def warm_up(self) -> None:
        """Start loading the model and return at once."""
        self.embedder.start_loading()

    def to_dict(self) -> dict[str, Any]:
        """Return the component in serialized form."""
        return dict(default_to_dict(self, **self._parameters()))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Any:
        """Build a serialized component; raise InvalidInput for an option that only code may set."""
        check_written(data.get("init_parameters", {}).get("options") or {})
        return default_from_dict(cls, data)

    def _around(self, text: str) -> str:
        return self.prefix + text + self.suffix

    def _parameters(self) -> dict[str, Any]:
        model = public_name(self.model)
        options = written(self.options)
        return {"model": model, "prefix": self.prefix, "suffix": self.suffix, "options": options}


@component
class HotstartTextEmbedder(_Component):
    """Embeds a question in a Haystack pipeline. The constructor loads nothing.

    Args:
        model: name or folder of the model, see `Embedder`.
        prefix: text before the question, after the model's prompt.
        suffix: text after the question.
        options: options of `Embedder`, for example `strategy`, `truncate_dim` or `cache`.
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, Any]:
        """Return the vector of `text` as `embedding`."""
        return {"embedding": self.embedder.embed_query(self._around(text))}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, Any]:
        """Await the result of `run`."""
        return {"embedding": await query_vector(self.embedder, self._around(text))}


@component
class HotstartDocumentEmbedder(_Component):
    """Embeds documents in a Haystack pipeline.

    Further arguments:
        meta_fields_to_embed: fields of `meta` whose values are put before the content.
        embedding_separator: separator between these values and the content.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        prefix: str = "",
        suffix: str = "",
        options: dict[str, Any] | None = None,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
    ) -> None:
        _Component.__init__(self, model, prefix, suffix, options)
        self.meta_fields_to_embed = meta_fields_to_embed or []
        self.embedding_separator = embedding_separator

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of `documents` with their vectors, as `documents`."""
        return _embedded(documents, self.embedder.embed_documents([*map(self._text, documents)]))

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Await the result of `run`."""
        texts = [self._text(document) for document in documents]
        return _embedded(documents, await document_vectors(self.embedder, texts))

    def _parameters(self) -> dict[str, Any]:
        own = ("meta_fields_to_embed", "embedding_separator")
        return _Component._parameters(self) | {name: getattr(self, name) for name in own}

    def _text(self, document: Document) -> str:
        found = (document.meta.get(name) for name in self.meta_fields_to_embed)
        parts = [str(value) for value in found if value is not None]
        return self._around(self.embedding_separator.join([*parts, document.content or ""]))


def _embedded(documents: list[Document], vectors: list[list[float]]) -> dict[str, Any]:
    return {"documents": [replace(d, embedding=v) for d, v in zip(documents, vectors, strict=True)]}
