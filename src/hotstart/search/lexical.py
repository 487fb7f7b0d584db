"""Lexical ranking: a tantivy index derived from the store.

Each chunk is one field of words: the path, the heading and the text, each word as often as its
fields weigh. BM25 over it is BM25F: one length and one saturation for all fields. The words are
stemmed in the language of their document.

Document 0 of the index holds the identity and generation of the store it matches, and the
languages of its documents. All are committed with the documents.
"""

from __future__ import annotations

import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart._lazy import require
from hotstart.files import remove_file
from hotstart.search.definitions import symbols_of
from hotstart.search.words import (
    DEFAULT_LANGUAGE,
    SCRIPTS,
    characters_of,
    compounds_of,
    folded,
    is_near,
    is_stop_word,
    joined,
    language_of,
    normalized,
    pairs_of,
    query_words,
    sequence_of,
    spellings_of,
    words_of,
)

if TYPE_CHECKING:
    from hotstart.search.store import Passage, Store

logger = logging.getLogger(__name__)

Advance = Callable[[int, int], None]
"""Called with the chunks done and the chunks in all."""

_FORMAT = 5  # incremented with each change of the fields; an index of another format is rebuilt
_STAMP_ID = 0  # chunk ids begin at 1
_MOST_DEFINING = 50  # chunks that define a symbol of the query to add to the ranking
_MOST_NEAR = 200  # chunks in which a misspelt word is looked for
_HEAP = 50_000_000  # size of the writer's buffer in bytes
_REPORT = 256  # chunks between progress reports


class Match(NamedTuple):
    """A chunk with a word of the query, its BM25 score, and whether it defines a symbol of it."""

    id: int
    score: float
    defines: bool = False


class WantedWords:
    """The words of a query, and which of them a text holds.

    Args:
        words: the forms under which each word is looked up.
        forms_of: returns the forms under which a text is in the index.
    """

    def __init__(
        self, words: Iterable[frozenset[str]], forms_of: Callable[[str], frozenset[str]]
    ) -> None:
        self._words = list(dict.fromkeys(words))
        self._forms_of = functools.lru_cache(maxsize=10_000)(forms_of)

    def within(self, text: str) -> frozenset[int]:
        """Return which words of the query the short `text` holds, by their numbers."""
        forms = self._forms_of(text)
        return frozenset(n for n, word in enumerate(self._words) if not word.isdisjoint(forms))


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

    def search(self, query: str, limit: int, among: Sequence[int] | None = None) -> list[Match]:
        """Return up to `limit` chunks with words of `query`, by BM25, best first.

        Behind them are chunks that define a symbol of the query and rank lower. A query without
        words or a missing index gives nothing.

        Args:
            query: the words.
            limit: how many chunks to return.
            among: the chunks to choose from, by default all.

        Raises:
            LexicalIndexDamaged: the index cannot be read; the next `sync` rebuilds it.
        """
        index = self._index or self._open()
        if index is None:
            return []
        with self._distrusting():
            text = self._query(index, query)
            if text is None:
                return []
            if among is not None:
                text = self._within(index, "id", among, text)
            searcher = index.searcher()
            defining: dict[int, float] = {}
            if symbols := symbols_of(query):
                named = self._within(index, "defines", symbols, text)
                defining = dict(_hits(searcher, named, min(limit, _MOST_DEFINING)))
            found = dict(_hits(searcher, text, limit))
        matches = [Match(one, score, one in defining) for one, score in found.items()]
        matches += [Match(one, score, True) for one, score in defining.items() if one not in found]
        # Those of `among` without a word of the query have no score, and others neither.
        return matches if among is None else [each for each in matches if each.score > 0]

    def shares(self, query: str, ids: Sequence[int]) -> dict[int, float]:
        """Return which share of the words of `query` each of the chunks `ids` holds, from 0 to 1.

        Raises:
            LexicalIndexDamaged: the index cannot be read; the next `sync` rebuilds it.
        """
        index = self._index or self._open()
        if index is None or not ids:
            return {}
        with self._distrusting():
            occur, make = self._tantivy.Occur, self._tantivy.Query
            languages = self._languages(index)
            words = {tuple(self._stems_of(word, languages)) for word in query_words(query)}
            # For a few chunks this takes a fifth of the time of `term_set_query`.
            named = [(occur.Should, make.term_query(index.schema, "id", one)) for one in ids]
            chosen = make.boolean_query(named)
            clauses = [(occur.Must, make.const_score_query(chosen, 0.0))]
            for stems in words:  # each that is there counts 1
                counted = make.const_score_query(self._any_of(index, list(stems)), 1.0)
                clauses.append((occur.Should, counted))
            found = _hits(index.searcher(), make.boolean_query(clauses), len(ids))
        return {one: count / max(1, len(words)) for one, count in found}

    def holding(self, text: str) -> list[int]:
        """Return all chunks that a search for the words of `text` would find by each of them."""
        text = normalized(text)
        must = self._tantivy.Occur.Must

        def query(index: Any) -> Any:
            languages = self._languages(index)
            words = [*words_of(text), *pairs_of(text)]
            terms = [self._any_of(index, self._stems_of(word, languages)) for word in words]
            return self._tantivy.Query.boolean_query([(must, term) for term in terms])

        return self._every(query)

    def holding_phrase(self, phrase: str) -> list[int]:
        """Return all chunks with the words of `phrase`, as they are and in this order."""
        words = sequence_of(phrase).split()
        phrases = self._tantivy.Query

        def query(index: Any) -> Any:
            if len(words) == 1:
                return phrases.term_query(index.schema, "sequence", words[0])
            return phrases.phrase_query(index.schema, "sequence", words)

        return self._every(query)

    def _every(self, query: Callable[[Any], Any]) -> list[int]:
        """Return all chunks of a query; raise LexicalIndexDamaged as `search`."""
        index = self._index or self._open()
        if index is None:
            return []
        with self._distrusting():
            searcher = index.searcher()
            return [one for one, _ in _hits(searcher, query(index), searcher.num_docs)]

    def corrections(self, query: str, store: Store) -> dict[str, str]:
        """Return the words of `query` that no chunk holds, and a word for each that one does.

        It differs by one letter, or by two that changed places, and is written as in its chunk.
        Beside other words, which find something, what may be another word does not count. Words
        of less than 4 letters, with digits or marks, and those without such a word are left out.

        Raises:
            LexicalIndexDamaged: the index cannot be read; the next `sync` rebuilds it.
        """
        every = query_words(query)
        words = [word for word in every if len(word) >= 4 and word.isalpha()]
        index = self._index or self._open()
        if not words or index is None:
            return {}
        found = {}
        with self._distrusting():
            searcher = index.searcher()
            languages = self._languages(index)
            for word in dict.fromkeys(words):
                stems = self._stems_of(word, languages)
                if not any(searcher.doc_freq("words", stem) for stem in stems):
                    spelling = self._nearest_spelling(index, word, store, strict=len(every) > 1)
                    if spelling is not None:
                        found[word] = spelling
        return found

    def _nearest_spelling(self, index: Any, word: str, store: Store, *, strict: bool) -> str | None:
        """Return the most frequent word near to `word`, if possible with its first letter."""
        tantivy = self._tantivy
        near = [
            (
                tantivy.Occur.Should,
                tantivy.Query.fuzzy_term_query(index.schema, field, word, distance=1),
            )
            for field in ("words", "sequence")
        ]
        ids = [
            one for one, _ in _hits(index.searcher(), tantivy.Query.boolean_query(near), _MOST_NEAR)
        ]
        places = store.passages(ids)
        spellings: dict[str, Counter[str]] = {}
        for one, text in store.texts(ids).items():
            every = normalized(f"{text}\n{places[one].path}\n{places[one].heading}")
            for spelling in {*spellings_of(every), *compounds_of(every)}:
                other = folded(spelling)
                if is_near(word, other, strict=strict) and not is_stop_word(
                    other, DEFAULT_LANGUAGE
                ):
                    spellings.setdefault(other, Counter())[spelling] += 1
        if not spellings:
            return None
        best = max(
            spellings,
            key=lambda other: (other[0] == word[0], spellings[other].total(), other),
        )
        written = spellings[best]
        return max(written, key=lambda one: (written[one], len(compounds_of(one)), one))

    @contextmanager
    def _distrusting(self) -> Iterator[None]:
        """Raise LexicalIndexDamaged for what tantivy raises, and remember it for `sync`."""
        try:
            yield
        except BaseException as error:
            # Ctrl-C is no damage; a panic of tantivy is not an Exception.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                self._distrusted = True
                raise LexicalIndexDamaged(str(error)) from error
            raise

    def wanted(self, query: str) -> WantedWords:
        """Return the words of `query`, stemmed in the languages of the index."""
        languages = self._languages(self._index or self._open())

        def forms_of(text: str) -> frozenset[str]:
            text = normalized(text)
            found = (self._forms(text, language) for language in languages)
            return frozenset(chain.from_iterable(found))

        words = (frozenset(self._stems_of(word, languages)) for word in query_words(query))
        return WantedWords(words, forms_of)

    def _within(self, index: Any, field: str, terms: Sequence[Any], text: Any) -> Any:
        """Return the query for the documents with one of `terms` in `field`, scored by `text`."""
        tantivy = self._tantivy
        named = tantivy.Query.term_set_query(index.schema, field, list(terms))
        both = [
            (tantivy.Occur.Must, tantivy.Query.const_score_query(named, 0.0)),
            (tantivy.Occur.Should, text),
        ]
        return tantivy.Query.boolean_query(both)

    def _query(self, index: Any, query: str) -> Any:
        """Return tantivy's query for any word of `query`, or None if it has none.

        Each word is stemmed as in a document of any language. One that stands there twice counts
        twice.
        """
        tantivy = self._tantivy
        languages = self._languages(index)
        counts = Counter(tuple(self._stems_of(word, languages)) for word in query_words(query))
        if not counts:
            return None
        clauses = []
        for stems, count in counts.items():
            one = self._any_of(index, stems)
            if count > 1:
                one = tantivy.Query.boost_query(one, float(count))
            clauses.append((tantivy.Occur.Should, one))
        return tantivy.Query.boolean_query(clauses)

    def _any_of(self, index: Any, stems: Sequence[str]) -> Any:
        tantivy = self._tantivy
        terms = [tantivy.Query.term_query(index.schema, "words", s, "freq") for s in stems]
        return terms[0] if len(terms) == 1 else tantivy.Query.disjunction_max_query(terms)

    def _languages(self, index: Any) -> Sequence[str]:
        stamp = self._last_stamp or self._stamp(index)
        return stamp.languages if stamp and stamp.languages else (DEFAULT_LANGUAGE,)

    def _stems_of(self, word: str, languages: Sequence[str]) -> list[str]:
        """Return what `word` may be in the index; pairs of characters are what they are."""
        found = (self._stems(word, language) for language in languages)
        return list(dict.fromkeys(chain.from_iterable(found))) or [word]

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
            builder = tantivy.TextAnalyzerBuilder(tokenizer)
            if plain:
                builder = builder.filter(tantivy.Filter.lowercase())
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
        return self._tantivy.Document(
            id=passage.id,
            words=" ".join(self._forms(text, language)),
            sequence=[sequence_of(each) for each in (passage.text, passage.path, passage.heading)],
            defines=" ".join(joined(name) for name in passage.names.split()),
        )

    def _forms(self, text: str, language: str) -> list[str]:
        """Return all under which a normalized `text` in `language` is found."""
        stems = self._stems(text, language)
        for more in compounds_of(text):
            stems += self._stems(more, language)
        return stems + pairs_of(text) + characters_of(text)

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
    # For phrases, and for misspelt words to be compared with.
    builder.add_text_field("sequence", tokenizer_name="whitespace", index_option="position")
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
