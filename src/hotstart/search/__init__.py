"""Local search over the files of a folder.

folder ──documents──▶ text ──chunking──▶ chunks ──▶ store (SQLite: the truth)
                                                      ├──▶ lexical (tantivy: derived)
                                                      └──▶ vectors (with their fingerprint)
query ──▶ lexical ranking with signals + nearest vectors ──fusion──▶ one hit a file ──▶ answer
"""

from __future__ import annotations

from hotstart._exports import lazy_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hotstart.search.answer import Answer, Hit
    from hotstart.search.index import SearchIndex
    from hotstart.search.indexes import SearchIndexes
    from hotstart.search.indexing import UpdateReport

__all__ = ["Answer", "Hit", "SearchIndex", "SearchIndexes", "UpdateReport"]

__getattr__ = lazy_names(
    __name__,
    {
        "Answer": "hotstart.search.answer",
        "Hit": "hotstart.search.answer",
        "SearchIndex": "hotstart.search.index",
        "SearchIndexes": "hotstart.search.indexes",
        "UpdateReport": "hotstart.search.indexing",
    },
)


def __dir__() -> list[str]:
    return __all__
