"""hotstart: embedding models ready without a cold start.

`import hotstart` imports no other module; each name below is imported at its first use.
"""

from __future__ import annotations

from hotstart._exports import lazy_names
from hotstart._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hotstart.cache.embedding_cache import EmbeddingCache
    from hotstart.embedder import Embedder, get_embedding_provider, preload_embeddings
    from hotstart.errors import HotstartError
    from hotstart.errors import NotReady as ModelNotReady
    from hotstart.ragged import SparseEmbedding, maxsim
    from hotstart.registry.registry import ModelRegistry
    from hotstart.reranker import Reranker
    from hotstart.search import SearchIndex
    from hotstart.server import lifespan, router
    from hotstart.system import ResourceProfile
    from hotstart.types import LoadingStrategy

__all__ = [
    "Embedder",
    "EmbeddingCache",
    "HotstartError",
    "LoadingStrategy",
    "ModelNotReady",
    "ModelRegistry",
    "Reranker",
    "ResourceProfile",
    "SearchIndex",
    "SparseEmbedding",
    "__version__",
    "get_embedding_provider",
    "lifespan",
    "maxsim",
    "preload_embeddings",
    "router",
]

__getattr__ = lazy_names(
    __name__,
    {
        "Embedder": "hotstart.embedder",
        "EmbeddingCache": "hotstart.cache.embedding_cache",
        "HotstartError": "hotstart.errors",
        "LoadingStrategy": "hotstart.types",
        "ModelNotReady": "hotstart.errors:NotReady",
        "ModelRegistry": "hotstart.registry.registry",
        "Reranker": "hotstart.reranker",
        "ResourceProfile": "hotstart.system",
        "SearchIndex": "hotstart.search",
        "SparseEmbedding": "hotstart.ragged",
        "get_embedding_provider": "hotstart.embedder",
        "lifespan": "hotstart.server",
        "maxsim": "hotstart.ragged",
        "preload_embeddings": "hotstart.embedder",
        "router": "hotstart.server",
    },
)


def __dir__() -> list[str]:
    return __all__
