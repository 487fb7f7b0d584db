"""`SearchIndex`: update and search an index of a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, get_args

from hotstart.concurrency import Deadline
from hotstart.errors import HotstartError, IndexMissing, InvalidInput
from hotstart.search.activation import activations
from hotstart.search.fusion import SEMANTIC, Fusion, reciprocal_rank_fusion
from hotstart.search.lexical import LexicalIndex, LexicalIndexDamaged, Match
from hotstart.search.location import DATABASE, locate, stored_location
from hotstart.search.query import Query, parse_query, select_chunks
from hotstart.search.ranking import (
    Candidate,
    FileGroup,
    Ranked,
    by_reranker,
    grouped,
    rank_candidates,
    with_activation,
)
from hotstart.search.semantic import Nearest, Semantic
from hotstart.search.store import Passage, Store, StoredDocument, StorePool
from hotstart.search.words import MOST_WORDS, replaced

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.reranker import Reranker
    from hotstart.search.documents import FileSelection
    from hotstart.search.excerpt import Excerpt
    from hotstart.search.expressions import Expression
    from hotstart.search.indexing import IndexStatus, OnProgress, UpdateReport
    from hotstart.types import Mode


@dataclass(frozen=True)
class Place:
    """Another chunk that a hit stands for: of the same file, or nearly equal in another."""

    path: str
    start_line: int
    end_line: int
    heading: str


@dataclass(frozen=True)
class Hit:
    """The best chunk of a file that answers a query.

    Attributes:
        folder: the indexed folder, or the one above several.
        path: the file, relative to the folder, with forward slashes.
        start_line: the chunk's first line, counted from 1.
        end_line: its last line.
        heading: headings or definitions around it, such as "Guide > Install"; may be empty.
        text: text of the chunk at the last update of the index.
        score: how well the chunk answers, from 0 to 1: the share of the query's words in it, or
            the cosine of its vector to the query's if that is higher. Scores compare between
            queries and indexes; the order of the hits follows `parts`.
        found_by: `lexical`, `semantic` or both.
        parts: what the order of the hits follows: the sum of these, by name.
        others: other places that answer, best first: of this file, or nearly equal ones.
        is_current: whether the file has the size and the time that it had when it was indexed.
    """

    folder: str
    path: str
    start_line: int
    end_line: int
    heading: str
    text: str
    score: float
    found_by: tuple[str, ...]
    parts: dict[str, float]
    others: tuple[Place, ...]
    is_current: bool

    @property
    def file(self) -> str:
        """The absolute path of the file."""
        return os.path.join(self.folder, self.path)


@dataclass(frozen=True)
class Answer:
    """The hits of one search, best first, and how they were found.

    Attributes:
        mode: `hybrid`, `lexical`, or `semantic` if no chunk contains a word of the query.
        reason: why the answer is not hybrid over the whole index; None if it is.
        seconds: duration of the search.
        model: the model of the vectors; None for a lexical answer.
        engine: the engine of the model.
        query: the text that was searched: the query without its filters, misspelt words replaced,
            or what each match of a regular expression holds.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str | None
    seconds: float
    model: str | None
    engine: str | None
    query: str


_DEPTH = 60  # chunks of each ranking, at least
_DEEPER = 3  # times as many chunks as hits: a file gives one hit
_COMPARED = 2  # times as many files as hits, whose texts are compared
_RERANKED = 20  # hits that a reranker orders
_A_RUN = 5  # of them are read at a time, so that a late reranker is given up soon
_MOST_OTHERS = 10  # places that a hit lists
_BEHIND = "another process is writing the index, so its latest changes may be missing"

_READ_ONLY = "the index cannot be written here, so its latest changes may be missing"

Ranking = list[tuple[int, float]]


class _Found(NamedTuple):
    """What the words of a query found.

    Attributes:
        text: the query as it was looked up, misspelt words replaced.
        matches: the chunks with a word of it.
        among: the chunks that its filters leave; None without filters.
        notes: what the answer must say of it.
    """

    text: str
    matches: list[Match]
    among: Sequence[int] | None
    notes: tuple[str, ...]


class SearchIndex:
    """The index of the folder `path`. The constructor reads nothing; the methods are thread-safe.

    Args:
        path: the folder to search, or several.
        embedder: computes the vectors; without one, answers are lexical.
        store: the folder of the index; required for several folders. By default the sub-folder
            `.hotstart`, or a folder of the cache if there is no index and none can be written.
        fusion: how lexical and semantic ranking become one: `linear` adds scores, `rrf` the
            reciprocals of ranks.
        reranker: puts the first 20 hits in its own order, if the time of a search suffices.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        embedder: Embedder | None = None,
        store: str | os.PathLike[str] | None = None,
        *,
        fusion: Fusion = "linear",
        reranker: Reranker | None = None,
    ) -> None:
        if fusion not in get_args(Fusion):
            raise InvalidInput("fusion", got=fusion, expected=" or ".join(get_args(Fusion)))
        paths = [path] if isinstance(path, str | os.PathLike) else path
        home = None if store is None else os.fspath(store)
        self._location = locate([os.fspath(each) for each in paths], home)
        self._path = self._location.root
        self._database = os.path.join(self._location.home, DATABASE)
        self._embedder = embedder
        self._stores = StorePool(self._database)
        self._lexical = LexicalIndex(os.path.join(self._location.home, "lexical"))
        self._semantic = Semantic(embedder)
        self._fusion = fusion
        self._reranker = reranker

    def __repr__(self) -> str:
        return f"SearchIndex({self._path!r})"

    @classmethod
    def nearest(cls, path: str | os.PathLike[str], embedder: Embedder | None = None) -> SearchIndex:
        """Return the index of `path` or of its nearest indexed parent.

        Raises:
            IndexMissing: neither `path` nor a parent is indexed.
        """
        folder = start = os.path.abspath(os.fspath(path))
        while not locate([folder]).exists:
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                raise IndexMissing(start if os.path.isdir(start) else os.path.dirname(start))
        return cls(folder, embedder)

    @classmethod
    def stored(cls, store: str | os.PathLike[str], embedder: Embedder | None = None) -> SearchIndex:
        """Return the index in the folder `store`, of the folders that it was made of.

        Raises:
            IndexMissing: there is no index.
            IndexDamaged: its record of the folders cannot be read.
        """
        return cls(stored_location(os.fspath(store)).folders, embedder, store)

    @property
    def path(self) -> str:
        """The indexed folder; of several, the nearest folder above them."""
        return self._path

    @property
    def folders(self) -> tuple[str, ...]:
        """The indexed folders."""
        return self._location.folders

    @property
    def home(self) -> str:
        """The folder of the index."""
        return self._location.home

    @property
    def exists(self) -> bool:
        """Whether the folder is indexed."""
        return os.path.isfile(self._database)

    def update(
        self,
        on_progress: OnProgress | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> UpdateReport:
        """Update the index; read and embed only changed files.

        An interrupted or killed update keeps its progress; the next update continues.

        Args:
            on_progress: called with the phase, its completed steps and its total steps.
            include: globs as in .gitignore: index only what they match. By default those of the
                `[search]` table in the folder's hotstart.toml; without any, everything.
            exclude: globs of what is left out, by default those of the table.

        Raises:
            IndexBusy: another process is updating the index.
            IndexDamaged: the database belongs to another program, or cannot be read or written.
            InvalidInput: the folder is not there, or a glob or the table cannot be read.
            HotstartError: the model could not be loaded; answers are lexical until it is.
        """
        from hotstart.search.indexing import update_index

        selections = self._selections(include, exclude)
        self._location.refuse_links()
        self._lexical.check_installed()
        with self._location.writing(), Store(self._database) as store:
            return update_index(
                self._path, store, self._lexical, self._embedder, on_progress, selections
            )

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Remove a file, or a folder with all below it, from the index; return how many files.

        All of them go at once, and no file of the index keeps a byte of them. The next update adds
        what is still there, unless it is ignored or excluded.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process is updating the index.
            InvalidInput: `path` is not below the folder, or nothing of it is indexed.
        """
        from hotstart.search.indexing import forget_documents

        if not self.exists:
            raise IndexMissing(self._path)
        below = self._below(path)
        self._location.refuse_links()
        with self._location.writing(), Store(self._database) as store:
            count = forget_documents([below], store, self._lexical)
        if not count:
            raise InvalidInput("path", got=os.fspath(path), expected="an indexed file or folder")
        return count

    def delete(self) -> None:
        """Remove the whole index; the files that it is of stay.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process is updating the index.
        """
        import shutil

        from hotstart.files import beside

        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with self._location.writing():
            # In one step, so that what is left after a crash is no index.
            removed = beside(self._location.home)
            os.rename(self._location.home, removed)
            shutil.rmtree(removed)

    def read(self, path: str | os.PathLike[str]) -> str:
        """Return the text of a file below the folder, as it is now.

        Raises:
            InvalidInput: `path` is not below the folder, or is no text.
        """
        from hotstart.search.documents import read_document
        from hotstart.search.text import SkippedFile

        file = os.path.join(self._path, self._below(path))
        try:
            return read_document(file, is_named=True).text
        except FileNotFoundError:
            raise InvalidInput(
                "path", got=os.fspath(path), expected="a file that is there"
            ) from None
        except SkippedFile as verdict:
            expected = f"a text file, it is passed over: {verdict}"
            raise InvalidInput("path", got=os.fspath(path), expected=expected) from None

    def status(self) -> IndexStatus:
        """Return what is indexed, and what changed since.

        Raises:
            IndexMissing: the folder is not indexed.
            InvalidInput: the folder is not there.
        """
        from hotstart.search.indexing import IndexStatus, pending_changes

        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with Store(self._database) as store:
            return IndexStatus(
                folders=self._location.folders,
                home=self._location.home,
                documents=len(store.documents()),
                chunks=store.count_chunks(),
                vectors=store.vector_spaces(),
                size=self._location.size(),
                changed_at=self._location.changed_at(),
                pending=pending_changes(self._path, store, self._selections()),
            )

    def _selections(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> list[FileSelection]:
        """Return which files of each folder are indexed."""
        from hotstart.config import search_settings
        from hotstart.search.documents import FileSelection

        selections = []
        for folder in self._location.folders:
            if not os.path.isdir(folder):
                raise InvalidInput("path", got=folder, expected="a folder that exists")
            table = search_settings(folder)
            included = table.include if include is None else include
            excluded = table.exclude if exclude is None else exclude
            selections.append(FileSelection(folder, included, excluded))
        return selections

    def _below(self, path: str | os.PathLike[str]) -> str:
        """Return `path` relative to the folder, with forward slashes; links are followed."""
        given = os.fspath(path)
        root = os.path.realpath(self._path)
        below = os.path.relpath(os.path.realpath(os.path.join(self._path, given)), root)
        if below.split(os.sep)[0] == os.pardir:
            raise InvalidInput("path", got=given, expected=f"a path below {self._path}")
        return "" if below == os.curdir else below.replace(os.sep, "/")

    def touch(self, path: str) -> bool:
        """Record a use of a file, such as its opening: for a while it ranks higher.

        Args:
            path: the file, as a hit names it.

        Returns:
            Whether the use was recorded. A file that is not indexed has no history, and an index
            that cannot be written keeps none.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process holds a transaction for seconds.
            IndexDamaged: the database belongs to another program, or cannot be read.
        """
        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with Store(self._database) as store:
            if store.is_read_only:
                return False
            with store.transaction():
                return store.use(path, time.time())

    def search(
        self,
        query: str = "",
        top_k: int = 10,
        timeout: float | None = None,
        *,
        regex: str | None = None,
        min_score: float = 0.0,
        activation: bool = True,
    ) -> Answer:
        """Return the `top_k` files that answer `query` best, each by its best chunk.

        If the vector of the query is not available in time, the answer is lexical and has a
        `reason`.

        Args:
            query: words or a question, with phrases in quotes, `-word`, `path:` and `lang:`.
            top_k: maximal number of hits.
            timeout: seconds to wait for the model; 0 for no wait, None for no limit.
            regex: a regular expression of RE2. The hits are its matches, whole lines each, in the
                order of the words of the query, if it has any, and of the signals.
            min_score: leave out hits with a lower score.
            activation: whether files that were used of late rank higher; see `touch`.

        Raises:
            InvalidInput: an argument cannot be used.
            IndexMissing: the folder is not indexed.
            IndexDamaged: the database belongs to another program, or cannot be read.
        """
        began = time.perf_counter()
        _check(query, top_k, timeout, min_score, regex)
        deadline = Deadline(timeout)
        expression = None if regex is None else _compiled(regex)
        asked = parse_query(query, needs_words=expression is None)
        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        if expression is None:
            self._start_loading()
        depth = max(_DEEPER * top_k, _DEPTH)
        with self._stores.borrow() as store:
            found = self._find(store, asked, expression, depth)
            words = found.matches
            nearest = Nearest([], "a regular expression has no vector")
            if expression is None:
                nearest = self._nearest(store, asked.text, found, depth, deadline)
            meaning = nearest.ranking
            used = _activations(store) if activation else {}
            ranked = with_activation(self._ranked(store, found.text, words, nearest), used)
            if expression is None:
                groups, late = self._grouped(store, asked.text, ranked, top_k, deadline)
            else:  # each file with a match is one hit, however alike they are
                groups, late = grouped(ranked, top_k, {}), None
            hits: Iterable[Hit] = self._hits(store, groups, found.text, words, nearest)
            if expression:
                hits = _at_matches(store, hits, groups, expression)
            hits = tuple(hits)
            short = nearest.shortfall and f"{nearest.shortfall}: {self._remedy(store)}"
        mode: Mode = "lexical"
        notes = found.notes
        if meaning:
            mode = "hybrid" if words else "semantic"
            if not words and not notes:
                notes = ("no chunk holds a word of the query",)
        return Answer(
            hits=tuple(hit for hit in hits if hit.score >= min_score),
            mode=mode,
            reason="; ".join(filter(None, (*notes, nearest.reason, short, late))) or None,
            seconds=time.perf_counter() - began,
            model=nearest.model if meaning else None,
            engine=nearest.engine if meaning else None,
            query=found.text,
        )

    def _start_loading(self) -> None:
        self._semantic.start()
        if self._reranker:
            self._reranker.start_loading()

    def _nearest(
        self, store: Store, text: str, found: _Found, depth: int, deadline: Deadline
    ) -> Nearest:
        """Return the chunks nearest to `text`, none if its model does not know the words."""
        ids = [match.id for match in found.matches]
        nearest = self._semantic.nearest(store, text, depth, deadline.left, ids, found.among)
        if ids and self._fusion == "linear" and not nearest.legibility:
            return Nearest([], f"{nearest.model!r} does not know the words of the query")
        return nearest

    def _ranked(
        self,
        store: Store,
        query: str,
        words: list[Match],
        nearest: Nearest,
    ) -> list[Ranked]:
        """Return the chunks of both rankings that still exist, fused, best first."""
        meaning = [one for one, _ in nearest.ranking]
        passages = store.passages([*(match.id for match in words), *meaning])
        weight = SEMANTIC * (nearest.legibility if words else 1.0)
        if self._fusion == "rrf" and words and meaning:
            lexical = rank_candidates(query, _candidates(passages, words))
            return _fused(lexical, [passages[one] for one in meaning if one in passages])
        known = {match.id for match in words}
        others = {one: Match(one, 0.0) for one in meaning if one not in known}
        try:
            among = self._lexical.search(query, len(others), among=list(others)) if others else []
        except LexicalIndexDamaged:  # the next search rebuilds it
            among = []
        others |= {match.id: match for match in among}
        candidates = _candidates(passages, [*words, *others.values()], nearest.cosines, weight)
        return rank_candidates(query, candidates)

    def _grouped(
        self, store: Store, query: str, ranked: list[Ranked], top_k: int, deadline: Deadline
    ) -> tuple[list[FileGroup], str | None]:
        """Return the first `top_k` files, and why they are not in the order of the reranker."""
        limit = max(top_k, _RERANKED) if self._reranker else top_k
        best = {each.passage.path: each.passage.id for each in reversed(ranked)}
        heads = [each.passage.id for each in ranked if best[each.passage.path] == each.passage.id]
        texts = store.texts(heads[: _COMPARED * limit])
        groups = [
            group for group in grouped(ranked, limit, texts) if group.best.passage.id in texts
        ]
        late = None
        if self._reranker:
            groups, late = _reranked(self._reranker, query, groups, texts, deadline)
        return groups[:top_k], late

    def _remedy(self, store: Store) -> str:
        """Return what brings the vectors that are missing."""
        from hotstart.files import exclusive

        if store.is_read_only:
            return "the index cannot be written here"
        with exclusive(self._location.lock, wait=False) as held:
            return "update the index" if held else "another process is computing them"

    def _find(
        self, store: Store, query: Query, expression: Expression | None, depth: int
    ) -> _Found:
        """Return the chunks with a word of the query, brought up to date if that can be."""
        agrees = self._lexical.agrees(store, recount=False)
        incomplete = None if agrees else self._sync_lexical(store)
        try:
            found = self._look_up(store, query, expression, depth)
        except LexicalIndexDamaged:
            incomplete = self._sync_lexical(store)
            if incomplete:
                among = None if query.is_plain else ()
                return _Found(query.text, [], among, (incomplete,))
            found = self._look_up(store, query, expression, depth)
        return found._replace(notes=(incomplete, *found.notes)) if incomplete else found

    def _look_up(
        self, store: Store, query: Query, expression: Expression | None, depth: int
    ) -> _Found:
        text = query.text
        notes = []
        among: Sequence[int] | None = None
        if len(query.words) > MOST_WORDS:
            notes.append(f"only the first {MOST_WORDS} of {len(query.words)} words count")
        if expression or not query.is_plain:
            selection = select_chunks(query, store, self._lexical, expression)
            among = selection.ids
            notes += selection.notes
        if expression:
            text = text or " ".join(expression.literals)
            depth = len(selection.ids)
        else:
            for word, other in self._lexical.corrections(text, store).items():
                text = replaced(text, word, other)
                notes.append(f"no {word!r}: searched {other!r}")
        matches = self._lexical.search(text, depth, among) if among != [] else []
        if expression:
            ranked = {match.id for match in matches}
            matches += [Match(one, 0.0) for one in selection.ids if one not in ranked]
        return _Found(text, matches, among, tuple(notes))

    def excerpt(self, query: str, hit: Hit, context: int | None = None) -> Excerpt:
        """Return the lines of `hit` with most words of `query`, as they are in the file now.

        Args:
            query: the words of the query, as `Answer.query` has them.
            hit: a hit of this index.
            context: lines to show around each of them; by default three lines in all.
        """
        from hotstart.search.excerpt import alone, take_excerpt, within_file

        if context is None and hit.is_current:
            place = alone(hit.text, hit.start_line)
        else:
            place = within_file(hit.file, hit.text, hit.start_line)
        return take_excerpt(place, self._lexical.wanted(query), context)

    def _hits(
        self,
        store: Store,
        groups: Sequence[FileGroup],
        query: str,
        words: list[Match],
        nearest: Nearest,
    ) -> Iterator[Hit]:
        """Yield the hits of `groups`."""
        texts = store.texts([group.best.passage.id for group in groups])
        known = store.documents([group.best.passage.path for group in groups])
        wanted = self._lexical.wanted(query)
        matching = {match.id for match in words}
        near = dict(nearest.ranking)
        for each in groups:
            passage = each.best.passage
            if passage.id not in texts:
                continue
            text = texts[passage.id]
            share = wanted.share(f"{passage.path}\n{passage.heading}\n{text}")
            found = {"lexical": passage.id in matching, "semantic": passage.id in near}
            others = [other.passage for other in each.others[:_MOST_OTHERS]]
            yield Hit(
                folder=self._path,
                path=passage.path,
                start_line=passage.start_line,
                end_line=passage.end_line,
                heading=passage.heading,
                text=text,
                score=max(share, min(1.0, nearest.cosines.get(passage.id, 0.0))),
                found_by=tuple(way for way, is_so in found.items() if is_so),
                parts=each.best.parts,
                others=tuple(
                    Place(other.path, other.start_line, other.end_line, other.heading)
                    for other in others
                ),
                is_current=_is_current(
                    os.path.join(self._path, passage.path), known.get(passage.path)
                ),
            )

    def _sync_lexical(self, store: Store) -> str | None:
        """Update the lexical index; return the reason if that is impossible now."""
        from hotstart.files import exclusive

        if store.is_read_only:
            return _READ_ONLY
        with exclusive(self._location.lock, wait=False) as held:
            if not held:
                return _BEHIND
            self._lexical.sync(store)
        return None


def _is_current(path: str, known: StoredDocument | None) -> bool:
    """Return whether the file `path` has the size and the time that are `known` of it."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    return known is not None and (status.st_size, status.st_mtime_ns) == (
        known.size,
        known.mtime_ns,
    )


def _check(
    query: str, top_k: int, timeout: float | None, min_score: float, regex: str | None
) -> None:
    if not isinstance(query, str) or not (query.strip() or regex is not None):
        raise InvalidInput("query", got=query, expected="a text with a word in it")
    if not isinstance(top_k, int) or top_k < 1:
        raise InvalidInput("top_k", got=top_k, expected="a positive integer")
    Deadline(timeout)  # raises for what is no number
    if timeout is not None and timeout < 0:
        raise InvalidInput("timeout", got=timeout, expected="a number from 0 on, or None")
    if not 0 <= min_score <= 1:
        raise InvalidInput("min_score", got=min_score, expected="a number from 0 to 1")


def _activations(store: Store) -> dict[str, float]:
    """Return how likely each file is wanted now; none where no use was recorded."""
    uses = store.uses()
    return activations(uses, store.links(uses), time.time()) if uses else {}


def _candidates(
    passages: Mapping[int, Passage],
    matches: Iterable[Match],
    cosines: Mapping[int, float] = MappingProxyType({}),
    weight: float = 0.0,
) -> list[Candidate]:
    """Return the chunks of `matches` that still exist, with what their vectors add."""
    # A chunk without a vector yet counts as one of average meaning.
    average = sum(cosines.values()) / len(cosines) if cosines else 0.0
    return [
        Candidate(
            passage=passages[match.id],
            score=match.score,
            defines=match.defines,
            semantic=weight * cosines.get(match.id, average),
        )
        for match in matches
        if match.id in passages
    ]


def _at_matches(
    store: Store, hits: Iterable[Hit], groups: Sequence[FileGroup], expression: Expression
) -> Iterator[Hit]:
    """Yield `hits` with the lines of a match instead of the chunk; other matches are places."""
    of = {group.best.passage.path: group for group in groups}
    for hit in hits:
        group = of[hit.path]
        behind = sorted(group.others, key=lambda each: each.passage.start_line)
        passages = [each.passage for each in [group.best, *behind[:_MOST_OTHERS]]]
        texts = store.texts([passage.id for passage in passages])
        places = []
        for passage in passages:
            for first, last in expression.lines(texts.get(passage.id, "")):
                start, end = passage.start_line + first, passage.start_line + last
                places.append(Place(passage.path, start, end, passage.heading))
        if places:
            start, end = places[0].start_line, places[0].end_line
            lines = hit.text.split("\n")[start - hit.start_line : end + 1 - hit.start_line]
            yield replace(
                hit,
                start_line=start,
                end_line=end,
                text="\n".join(lines),
                score=1.0,
                others=tuple(places[1 : _MOST_OTHERS + 1]),
            )


def _compiled(pattern: str) -> Expression:
    from hotstart.search.expressions import Expression

    return Expression(pattern)


def _fused(lexical: list[Ranked], nearest: list[Passage]) -> list[Ranked]:
    """Return the chunks of both rankings by reciprocal rank fusion."""
    rankings = {
        "lexical": [each.passage.id for each in lexical],
        "semantic": [passage.id for passage in nearest],
    }
    shares = {name: dict(reciprocal_rank_fusion([ids])) for name, ids in rankings.items()}
    passages = {each.id: each for each in (*(ranked.passage for ranked in lexical), *nearest)}
    return [
        Ranked(
            passage=passages[one],
            score=score,
            own={name: of[one] for name, of in shares.items() if one in of},
            of_file={},
        )
        for one, score in reciprocal_rank_fusion(list(rankings.values()))
    ]


def _reranked(
    reranker: Reranker,
    query: str,
    groups: list[FileGroup],
    texts: Mapping[int, str],
    deadline: Deadline,
) -> tuple[list[FileGroup], str | None]:
    """Return `groups`, the first of them in the order of the reranker, and why not."""
    first, others = groups[:_RERANKED], groups[_RERANKED:]
    scores: dict[int, float] = {}
    try:
        for start in range(0, len(first), _A_RUN):
            if scores and deadline.is_over:
                return groups, f"{reranker.model!r} was late, so it reranked nothing"
            passages = [group.best.passage for group in first[start : start + _A_RUN]]
            documents = [f"{each.heading}\n{texts[each.id]}".strip() for each in passages]
            for each in reranker.rank(
                query, documents, activation="identity", timeout=deadline.left
            ):
                scores[start + each["corpus_id"]] = each["score"]
    except InvalidInput:
        raise
    except HotstartError as error:
        return groups, f"reranked nothing: {error.facts}"
    return by_reranker(first, scores) + others, None
