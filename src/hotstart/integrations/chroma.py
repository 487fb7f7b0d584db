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
    """An embedding function for Chroma. Making one loads nothing; any thread may use it.

    A collection keeps its configuration, without `cache` and permissions; whoever opens the
    collection after importing this module embeds with the same model.

    Args:
        model: a model's name or folder, as `Embedder` takes it.
        options: of `Embedder`, as `strategy`, `truncate_dim` or `cache`.

    Attributes:
        embedder: what computes the vectors: to load it ahead, or to ask for its `fingerprint`.
    """

    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        self.embedder = Embedder(model, **options)
        self._options = options

    def __call__(self, input: Documents) -> list[NDArray[np.float32]]:
        """Return the vector of each text that is asked about, float32 (dimension,)."""
        return list(self.embedder.encode_document(input))

    def embed_query(self, input: Documents) -> list[NDArray[np.float32]]:
        """Return the vector of each question, float32 (dimension,)."""
        return list(self.embedder.encode_query(input))

    @staticmethod
    def name() -> str:
        """Return the name by which a collection's configuration refers to this class."""
        return "hotstart"

    def get_config(self) -> dict[str, Any]:
        """Return model and options as a collection keeps them."""
        return {"model": public_name(self.embedder.model), **written(self._options)}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> HotstartEmbeddingFunction:
        """Make what `get_config` told; InvalidInput for an option that code alone may give."""
        check_written(config)
        return HotstartEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidInput for an option that code alone may give."""
        check_written(config)

    def validate_config_update(
        self, old_config: dict[str, Any], new_config: dict[str, Any]
    ) -> None:
        """Raise InvalidInput where vectors of the collection would be of another space."""
        for name in _DECISIVE:
            old, new = old_config.get(name), new_config.get(name)
            if old != new:
                raise InvalidInput(name, got=new, expected=f"{old!r}, as the collection has it")

    def default_space(self) -> Space:
        """Return `cosine`: the models' own measure, whether or not vectors have length 1."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return every space that Chroma knows."""
        return ["cosine", "l2", "ip"]
