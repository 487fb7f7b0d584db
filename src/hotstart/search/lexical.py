"""Lexical ranking: a tantivy index derived from the store.

Each chunk is one field of words: the path, the heading and the text, each word as often as its
fields weigh. BM25 over it is BM25F: one length and one saturation for all fields. The words are
stemmed in the language of their document.

Document 0 of the index holds the identity and generation of the store it matches, and the
languages of its documents. All are committed with the documents.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart._lazy import require
from hotstart.files import remove_file
from hotstart.search.definitions import symbols_of
from hotstart.search.words import (
    DEFAULT_LANGUAGE,
    SCRIPTS,
    compounds_of,
    joined,
    language_of,
    normalized,
    pairs_of,
    query_words,
    words_of,
)

if TYPE_CHECKING:
    from hotstart.search.store import Passage, Store

logger = logging.getLogger(__name__)

Advance = Callable[[int, int], None]
"""Called with the chunks done and the chunks in all."""

_FORMAT = 3  # incremented with each change of the fields; an index of another format is rebuilt
_STAMP_ID = 0  # chunk ids begin at 1
_MOST_DEFINING = 50  # chunks that define a symbol of the query to add to the ranking
_HEAP = 50_000_000  # size of the writer's buffer in bytes
_REPORT = 256  # chunks between progress reports


class Match(NamedTuple):
    """A chunk with a word of the query, its BM25 score, and whether it defines a symbol of it."""

    id: int
    score: float
    defines: bool = False


class Stamp(NamedTuple):
    """What a lexical index says of itself: its store and the languages of its documents."""

    generation: int
    languages: tuple[str, ...]


class LexicalIndex:
    """A tantivy index in `folder`, opened at first use. Thread-safe."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._index: Any = None
        self._links: str | None = None
        self._distrusted = False
        self._counted: tuple[Any, str, int] | None = None
        self._last_stamp: Stamp | None = None
        self._analyzers: dict[tuple[object, ...], Any] = {}

    def agrees(self, store: Store, *, recount: bool = True) -> bool:
        """Return whether the index holds exactly the chunks of `store`.

        Without `recount`, those of a generation are counted once: counting takes as long as a
        search, and only damage changes their number within a generation.
        """
        if self._distrusted:
            return False
        state = store.state()
        index = self._index
        if _generation(self._stamp(index, state.identity)) != state.generation:
            index = self._open()  # the open index may have been replaced
            if _generation(self._stamp(index, state.identity)) != state.generation:
                return False
        counted = (index, state.identity, state.generation)
        if recount or self._counted != counted:
            documents: int = index.searcher().num_docs
            self._counted = counted if documents == store.count_chunks() + 1 else None
        return self._counted is not None

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
        stamp = self._stamp(index, state.identity)
        if stamp is not None and stamp.generation < state.generation:
            try:
                self._write(index, store, stamp, report)
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
            self._write(index, store, Stamp(0, ()), on_progress or _no_report)
            place_folder(staged, self._folder)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        self._open()
        self._distrusted = False

    def search(self, query: str, limit: int) -> list[Match]:
        """Return up to `limit` chunks with words of `query`, by BM25, best first.

        Behind them are chunks that define a symbol of the query and rank lower. A query without
        words or a missing index gives nothing.

        Raises:
            LexicalIndexDamaged: the index cannot be read; the next `sync` rebuilds it.
        """
        words = query_words(query)
        index = self._index or self._open()
        if not words or index is None:
            return []
        try:
            return self._search(index, words, symbols_of(query), limit)
        except BaseException as error:
            # Ctrl-C is no damage; a panic of tantivy is not an Exception.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                self._distrusted = True
                raise LexicalIndexDamaged(str(error)) from error
            raise

    def _search(
        self, index: Any, words: list[str], symbols: Sequence[str], limit: int
    ) -> list[Match]:
        tantivy = self._tantivy
        stamp = self._last_stamp or self._stamp(index)
        text = self._query(index, words, stamp.languages if stamp else ())
        searcher = index.searcher()
        defining: dict[int, float] = {}
        if symbols:
            named = tantivy.Query.term_set_query(index.schema, "defines", symbols)
            both = [
                (tantivy.Occur.Must, tantivy.Query.const_score_query(named, 0.0)),
                (tantivy.Occur.Should, text),
            ]
            query = tantivy.Query.boolean_query(both)
            defining = dict(_hits(searcher, query, min(limit, _MOST_DEFINING)))
        found = dict(_hits(searcher, text, limit))
        matches = [Match(one, score, one in defining) for one, score in found.items()]
        return matches + [
            Match(one, score, True) for one, score in defining.items() if one not in found
        ]

    def _query(self, index: Any, words: Sequence[str], languages: Sequence[str]) -> Any:
        """Return the query for any of `words`, each stemmed as in a document of any language.

        A word that stands in the query twice counts twice.
        """
        tantivy = self._tantivy
        counts: Counter[tuple[str, ...]] = Counter()
        for word in words:
            found = (self._stems(word, language) for language in languages or (DEFAULT_LANGUAGE,))
            counts[tuple(dict.fromkeys(chain.from_iterable(found)))] += 1
        clauses = []
        for stems, count in counts.items():
            terms = [tantivy.Query.term_query(index.schema, "words", s, "freq") for s in stems]
            one = terms[0] if len(terms) == 1 else tantivy.Query.disjunction_max_query(terms)
            if count > 1:
                one = tantivy.Query.boost_query(one, float(count))
            clauses.append((tantivy.Occur.Should, one))
        return tantivy.Query.boolean_query(clauses)

    def _stems(self, text: str, language: str) -> list[str]:
        """Return the words of `text`, stemmed as in a document in `language`.

        Words in a script of their own are stemmed in its language.
        """
        plain = text.isascii()
        scripts = [] if plain else [name for name, one in SCRIPTS.items() if one.search(text)]
        key = (plain, language, *scripts)
        analyzer = self._analyzers.get(key)
        if analyzer is None:
            tantivy = self._tantivy
            # That of ASCII splits as `words_of` does, in less time; both yield lower case.
            tokenizer = tantivy.Tokenizer.simple() if plain else tantivy.Tokenizer.whitespace()
            builder = tantivy.TextAnalyzerBuilder(tokenizer).filter(tantivy.Filter.lowercase())
            for name in (language, *scripts):
                builder = builder.filter(tantivy.Filter.stemmer(name))
            analyzer = self._analyzers[key] = builder.build()
        found: list[str] = analyzer.analyze(text if plain else " ".join(words_of(text)))
        return found

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

    def _stamp(self, index: Any, identity: str | None = None) -> Stamp | None:
        """Return the stamp of `index`; None without one, or of another store than `identity`."""
        if index is None:
            return None
        tantivy = self._tantivy
        try:
            only = tantivy.Query.term_query(index.schema, "id", _STAMP_ID)
            searcher = index.searcher()
            ((_, place),) = searcher.search(only, 2).hits
            known, of, generation, *languages = searcher.doc(place).get_first("stamp").split(":")
        except Exception as error:  # noqa: BLE001 - of another format, or damaged
            logger.info("%s has no stamp: %s", self._folder, error)
            return None
        if known != str(_FORMAT) or identity not in {of, None}:
            return None
        self._last_stamp = Stamp(int(generation), tuple(languages))
        return self._last_stamp

    def _write(self, index: Any, store: Store, known: Stamp, report: Advance) -> None:
        """Commit the changes of `store` since `known` to `index`."""
        tantivy = self._tantivy
        self._remove_temporary_files()
        state = store.state()
        total = store.count_chunks(after=known.generation)
        languages = dict.fromkeys(known.languages)
        done = 0
        writer = index.writer(_HEAP, 1)
        for chunk_id in (_STAMP_ID, *store.removed_after(known.generation)):
            writer.delete_documents_by_term("id", chunk_id)
        changed = store.chunks_after(known.generation)
        for path, passages in groupby(changed, key=lambda passage: passage.path):
            language = language_of(store.beginning(path))
            languages[language] = None
            for passage in passages:
                if done % _REPORT == 0:
                    report(done, total)
                done += 1
                # The document may exist under another path.
                writer.delete_documents_by_term("id", passage.id)
                writer.add_document(self._document(passage, language))
        stamp = ":".join([str(_FORMAT), state.identity, str(state.generation), *languages])
        writer.add_document(tantivy.Document(id=_STAMP_ID, stamp=stamp))
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        report(total, total)

    def _document(self, passage: Passage, language: str) -> Any:
        # The heading is in the text as well, so that its words count twice.
        text = normalized(f"{passage.text}\n{passage.path}\n{passage.heading}")
        stems = self._stems(text, language)
        for more in compounds_of(text):
            stems += self._stems(more, language)
        stems += pairs_of(text)
        return self._tantivy.Document(
            id=passage.id,
            words=" ".join(stems),
            defines=" ".join(joined(name) for name in passage.names.split()),
        )

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
    builder.add_text_field("words", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("defines", tokenizer_name="whitespace", index_option="basic")
    return builder.build()


def _hits(searcher: Any, query: Any, limit: int) -> list[tuple[int, float]]:
    # tantivy allocates memory for `limit` hits, however few documents there are.
    hits = searcher.search(query, min(limit, searcher.num_docs), count=False).hits
    return [(searcher.doc(place).get_first("id"), score) for score, place in hits]


def _generation(stamp: Stamp | None) -> int | None:
    return stamp.generation if stamp else None


def _no_report(done: int, total: int) -> None:
    """Ignore the progress."""
