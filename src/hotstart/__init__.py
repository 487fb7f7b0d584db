"""hotstart: embedding models ready without a cold start.

`import hotstart` imports the standard library only; each name below is fetched when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotstart._lazy import lazy_names

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.errors import HotstartError
    from hotstart.search import SearchIndex

__version__ = "0.1.0"
__all__ = ["Embedder", "HotstartError", "SearchIndex", "__version__"]

__getattr__ = lazy_names(
    __name__,
    {
        "Embedder": "hotstart.embedder",
        "HotstartError": "hotstart.errors",
        "SearchIndex": "hotstart.search",
    },
)


def __dir__() -> list[str]:
    return __all__
