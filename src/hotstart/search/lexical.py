"""Lexical ranking: a tantivy index derived from the store.

Document 0 of the index holds the identity and generation of the store it matches. Both are
committed with the documents.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hotstart._lazy import require
from hotstart.files import remove_file

if TYPE_CHECKING:
    from hotstart.search.store import Passage, Store

MOST_WORDS = 64
"""Distinct words of a query that count; a longer query is cut."""

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def parts_of(text: str) -> list[str]:
    """Return the parts of the compound identifiers in `text`, each once, in lower case.

    `getModelName` gives get, model, name; `HTTPServer` gives http, server. Other words give
    nothing; the tokeniser splits snake_case itself.
    """
    parts: dict[str, None] = {}
    for word in _WORD.findall(text):
        if not (word.islower() or word.isupper()):
            found = _PART.findall(word)
            if len(found) > 1:
                parts.update(dict.fromkeys(part.lower() for part in found))
    return list(parts)


def query_words(query: str) -> list[str]:
    """Return the distinct words of `query` in lower case, and the parts of its identifiers."""
    words = (word.lower() for word in _WORD.findall(query))
    return list(dict.fromkeys([*words, *parts_of(query)]))[:MOST_WORDS]


logger = logging.getLogger(__name__)

Advance = Callable[[int, int], None]
"""Called with the chunks done and the chunks in all."""

_FORMAT = 1  # incremented with each change of the fields; an index of another format is rebuilt
_STAMP_ID = 0  # chunk ids begin at 1
_WEIGHTS = {"title": 2.0, "text": 1.0, "parts": 1.0}
_HEAP = 50_000_000  # size of the writer's buffer in bytes
_REPORT = 256  # chunks between progress reports


class LexicalIndex:
    """A tantivy index in `folder`, opened at first use. Thread-safe."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._index: Any = None
        self._links: str | None = None
        self._distrusted = False

    def agrees(self, store: Store) -> bool:
        """Return whether the index holds exactly the chunks of `store`."""
        if self._distrusted:
            return False
        state = store.state()
        index = self._index
        if self._generation(index, state.identity) != state.generation:
            index = self._open()  # the open index may have been replaced
            if self._generation(index, state.identity) != state.generation:
                return False
        documents: int = index.searcher().num_docs
        return documents == store.count_chunks() + 1

    def sync(self, store: Store, on_progress: Advance | None = None) -> None:
        """Update the index from `store`. The caller holds the lock of the store.

        Apply the changes; rebuild the index if it is missing, unreadable, of another store, newer
        than the store, has another number of chunks, or failed a search.
        """
        if self.agrees(store):
            return
        report = on_progress or _no_report
        state = store.state()
        index = None if self._distrusted else self._index
        known = self._generation(index, state.identity)
        if known is not None and known < state.generation:
            try:
                self._write(index, store, known, report)
            except Exception as error:  # noqa: BLE001 - whatever it is, the index can be remade
                logger.warning("%s could not be brought up to date: %s", self._folder, error)
        if not self.agrees(store):
            self.rebuild(store, report)

    def rebuild(self, store: Store, on_progress: Advance | None = None) -> None:
        """Rebuild the index from `store`. The caller holds the lock of the store.

        The old index answers until it is replaced.
        """
        import shutil  # only a rebuild needs it

        from hotstart.files import beside, place_folder, remove_leftovers

        logger.info("Rebuilding %s", self._folder)
        tantivy = self._tantivy
        remove_leftovers(self._folder)
        staged = beside(self._folder)
        os.mkdir(staged)
        try:
            index = tantivy.Index(_schema(tantivy), path=staged)
            self._write(index, store, 0, on_progress or _no_report)
            place_folder(staged, self._folder)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        self._open()
        self._distrusted = False

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """Return up to `limit` chunk ids with their scores for the words of `query`, best first.

        A query without words or a missing index gives nothing.

        Raises:
            LexicalIndexDamaged: the index cannot be read; the next `sync` rebuilds it.
        """
        words = query_words(query)
        index = self._index or self._open()
        if not words or index is None:
            return []
        try:
            # Only lower-case words reach the parser, so that they contain no query syntax.
            parsed, _ = index.parse_query_lenient(
                " ".join(words), list(_WEIGHTS), field_boosts=_WEIGHTS
            )
            searcher = index.searcher()
            # tantivy allocates memory for `limit` hits, however few documents there are.
            hits = searcher.search(parsed, min(limit, searcher.num_docs), count=False).hits
            return [(searcher.doc(place).get_first("id"), score) for score, place in hits]
        except BaseException as error:
            # Ctrl-C is no damage; a panic of tantivy is not an Exception.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                self._distrusted = True
                raise LexicalIndexDamaged(str(error)) from error
            raise

    def check_installed(self) -> None:
        """Raise MissingExtra without tantivy."""
        assert self._tantivy

    @cached_property
    def _tantivy(self) -> Any:
        return require("tantivy", extra="search")

    def _open(self) -> Any:
        """Open and return the index; None if it is missing or unreadable."""
        tantivy = self._tantivy
        try:
            self._index = tantivy.Index.open(self._place())
        except Exception as error:  # noqa: BLE001 - of several kinds, by what is missing
            logger.info("%s cannot be opened: %s", self._folder, error)
            self._index = None
        return self._index

    def _place(self) -> str:
        """Return the folder to open; where it cannot be written, one of links to its files.

        tantivy writes a lock file beside the index, also to read it.
        """
        if os.access(self._folder, os.W_OK) or not os.path.isdir(self._folder):
            return self._folder
        import shutil  # only an index that cannot be written needs them
        import tempfile
        import weakref

        if self._links is None:
            self._links = tempfile.mkdtemp(prefix="hotstart-lexical-")
            weakref.finalize(self, shutil.rmtree, self._links, ignore_errors=True)
        for name in os.listdir(self._folder):
            link = os.path.join(self._links, name)
            if not name.endswith(".lock") and not os.path.lexists(link):
                os.symlink(os.path.join(self._folder, name), link)
        return self._links

    def _generation(self, index: Any, identity: str) -> int | None:
        """Return the generation of store `identity` that `index` matches, else None."""
        if index is None:
            return None
        tantivy = self._tantivy
        try:
            only = tantivy.Query.term_query(index.schema, "id", _STAMP_ID)
            searcher = index.searcher()
            ((_, place),) = searcher.search(only, 2).hits
            known, of, generation = searcher.doc(place).get_first("stamp").split(":")
        except Exception as error:  # noqa: BLE001 - of another format, or damaged
            logger.info("%s has no stamp: %s", self._folder, error)
            return None
        return int(generation) if (known, of) == (str(_FORMAT), identity) else None

    def _write(self, index: Any, store: Store, known: int, report: Advance) -> None:
        """Commit the changes of `store` since generation `known` to `index`."""
        tantivy = self._tantivy
        self._remove_temporary_files()
        state = store.state()
        total = store.count_chunks(after=known)
        writer = index.writer(_HEAP, 1)
        for chunk_id in (_STAMP_ID, *store.removed_after(known)):
            writer.delete_documents_by_term("id", chunk_id)
        for done, passage in enumerate(store.chunks_after(known)):
            if done % _REPORT == 0:
                report(done, total)
            writer.delete_documents_by_term(
                "id", passage.id
            )  # the document may exist under another path
            writer.add_document(_document(tantivy, passage))
        stamp = f"{_FORMAT}:{state.identity}:{state.generation}"
        writer.add_document(tantivy.Document(id=_STAMP_ID, stamp=stamp))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        report(total, total)

    def _remove_temporary_files(self) -> None:
        """Remove the files that killed writers of tantivy left."""
        if os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                if name.startswith(".tmp"):
                    remove_file(os.path.join(self._folder, name))


class LexicalIndexDamaged(Exception):
    """The lexical index became unreadable during a search."""


def _schema(tantivy: Any) -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("id", stored=True, indexed=True)
    builder.add_text_field("stamp", stored=True, tokenizer_name="raw", index_option="basic")
    for field in _WEIGHTS:
        builder.add_text_field(field, tokenizer_name="en_stem")
    return builder.build()


def _document(tantivy: Any, passage: Passage) -> Any:
    title = f"{passage.path} {passage.heading}"
    parts = " ".join(parts_of(f"{title} {passage.text}"))
    return tantivy.Document(id=passage.id, title=title, text=passage.text, parts=parts)


def _no_report(done: int, total: int) -> None:
    """Ignore the progress."""
