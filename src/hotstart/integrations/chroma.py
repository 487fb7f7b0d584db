"""Chroma's `EmbeddingFunction`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hotstart._lazy import brought_by
from hotstart.embedder import DEFAULT_MODEL, Embedder
from hotstart.errors import InvalidInput
from hotstart.integrations import check_written, public_name, written

with brought_by("chroma", "chromadb"):
    from chromadb.api.types import Documents, EmbeddingFunction, Space
    from chromadb.utils.embedding_functions import register_embedding_function

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DECISIVE = ("model", "revision", "precision", "truncate_dim")


@register_embedding_function
class HotstartEmbeddingFunction(EmbeddingFunction[Documents]):
    """An embedding function for Chroma. The constructor loads nothing; it is thread-safe.

    A collection stores its configuration without `cache` and permissions. A program that imports
    this module and opens the collection embeds with the same model.

    Args:
        model: name or folder of the model, see `Embedder`.
        options: options of `Embedder`, for example `strategy`, `truncate_dim` or `cache`.

    Attributes:
        embedder: the `Embedder`, for example to load it early or to read its `fingerprint`.
    """

    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        self.embedder = Embedder(model, **options)
        self._options = options

    def __call__(self, input: Documents) -> list[NDArray[np.float32]]:
        """Return the vector of each document, float32 (dimension,)."""
        return list(self.embedder.encode_document(input))

    def embed_query(self, input: Documents) -> list[NDArray[np.float32]]:
        """Return the vector of each question, float32 (dimension,)."""
        return list(self.embedder.encode_query(input))

    @staticmethod
    def name() -> str:
        """Return the name of this class in the configuration of a collection."""
        return "hotstart"

    def get_config(self) -> dict[str, Any]:
        """Return model and options for the configuration of a collection."""
        return {"model": public_name(self.embedder.model), **written(self._options)}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> HotstartEmbeddingFunction:
        """Build a configured function; raise InvalidInput for an option that only code may set."""
        check_written(config)
        return HotstartEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidInput for an option that only code may set."""
        check_written(config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise InvalidInput if the vectors would belong to another vector space."""
        for name in _DECISIVE:
            old = old_config.get(name)
            new = new_config.get(name)
            if old != new:
                raise InvalidInput(name, got=new, expected=f"{old!r}, as the collection has it")

    def default_space(self) -> Space:
        """Return `cosine`, the metric of the models."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return every metric of Chroma."""
        return ["cosine", "l2", "ip"]
