"""`SearchIndex`: update and search an index of a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

from hotstart.concurrency import Deadline
from hotstart.errors import HotstartError, IndexBusy, IndexDamaged, IndexMissing, InvalidInput
from hotstart.search.activation import activations
from hotstart.search.fusion import SEMANTIC, Fusion, reciprocal_rank_fusion
from hotstart.search.lexical import LexicalIndex, LexicalIndexDamaged, Match
from hotstart.search.location import DATABASE, locate, stored_location
from hotstart.search.ranking import (
    Candidate,
    FileGroup,
    Ranked,
    by_reranker,
    grouped,
    rank_candidates,
)
from hotstart.search.semantic import Nearest, Semantic
from hotstart.search.store import Passage, Store, StorePool

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.reranker import Reranker
    from hotstart.search.indexing import OnProgress, UpdateReport
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
        path: the file, relative to the indexed folder, with forward slashes.
        start_line: the chunk's first line, counted from 1.
        end_line: its last line.
        heading: headings or definitions around it, such as "Guide > Install"; may be empty.
        text: text of the chunk at the last update of the index.
        score: higher is better; scores compare within one answer only.
        found_by: `lexical`, `semantic` or both.
        parts: what the score is the sum of, by name.
        others: other places that answer, best first: of this file, or nearly equal ones.
    """

    path: str
    start_line: int
    end_line: int
    heading: str
    text: str
    score: float
    found_by: tuple[str, ...]
    parts: dict[str, float]
    others: tuple[Place, ...]


@dataclass(frozen=True)
class Answer:
    """The hits of one search, best first, and how they were found.

    Attributes:
        mode: `hybrid`, `lexical`, or `semantic` if no chunk contains a word of the query.
        reason: why the answer is not hybrid over the whole index; None if it is.
        seconds: duration of the search.
        model: the model of the vectors; None for a lexical answer.
        engine: the engine of the model.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str | None
    seconds: float
    model: str | None
    engine: str | None


_LOCK = "lock"
_IGNORED = ".gitignore"
_DEPTH = 60  # chunks of each ranking, at least
_DEEPER = 3  # times as many chunks as hits: a file gives one hit
_COMPARED = 2  # times as many files as hits, whose texts are compared
_RERANKED = 20  # hits that a reranker orders
_A_RUN = 5  # of them are read at a time, so that a late reranker is given up soon
_MOST_OTHERS = 10  # places that a hit lists
_BEHIND = "another process is writing the index, so its latest changes may be missing"

_READ_ONLY = "the index cannot be written here, so its latest changes may be missing"

Ranking = list[tuple[int, float]]


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
        self._home = self._location.home
        self._database = os.path.join(self._home, DATABASE)
        self._embedder = embedder
        self._stores = StorePool(self._database)
        self._lexical = LexicalIndex(os.path.join(self._home, "lexical"))
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
        from hotstart.config import search_settings
        from hotstart.files import exclusive
        from hotstart.search.documents import FileSelection
        from hotstart.search.indexing import update_index

        selections: list[FileSelection] = []
        for folder in self._location.folders:
            if not os.path.isdir(folder):
                raise InvalidInput("path", got=folder, expected="a folder that exists")
            table = search_settings(folder)
            included = table.include if include is None else include
            excluded = table.exclude if exclude is None else exclude
            selections.append(FileSelection(folder, included, excluded))
        self._refuse_links()
        self._lexical.check_installed()
        try:
            self._location.claim()
            with exclusive(self._lock_path, wait=False) as held:
                if not held:
                    raise IndexBusy(self._path)
                self._keep_from_git()
                with Store(self._database) as store:
                    return update_index(
                        self._path, store, self._lexical, self._embedder, on_progress, selections
                    )
        except HotstartError:  # some are OSErrors: a TimeoutError is one
            raise
        except OSError as error:
            remedy = "Check the space and the permissions of the folder, then run this again"
            reason = error.strerror or str(error)
            raise IndexDamaged(self._home, reason=reason, remedy=remedy) from error

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
        self._refuse_links()
        with Store(self._database) as store:
            if store.is_read_only:
                return False
            with store.transaction():
                return store.use(path, time.time())

    def search(
        self,
        query: str,
        top_k: int = 10,
        timeout: float | None = None,
        *,
        activation: bool = True,
    ) -> Answer:
        """Return the `top_k` files that answer `query` best, each by its best chunk.

        If the vector of the query is not available in time, the answer is lexical and has a
        `reason`.

        Args:
            query: words or a question.
            top_k: maximal number of hits.
            timeout: seconds to wait for the model; 0 for no wait, None for no limit.
            activation: whether files that were used of late rank higher; see `touch`.

        Raises:
            InvalidInput: an argument cannot be used.
            IndexMissing: the folder is not indexed.
            IndexDamaged: the database belongs to another program, or cannot be read.
        """
        began = time.perf_counter()
        _check(query, top_k, timeout)
        deadline = Deadline(timeout)
        if not self.exists:
            raise IndexMissing(self._path)
        self._refuse_links()
        self._semantic.start()
        if self._reranker:
            self._reranker.start_loading()
        depth = max(_DEEPER * top_k, _DEPTH)
        with self._stores.borrow() as store:
            words, incomplete = self._lexical_ranking(store, query, depth)
            ids = [match.id for match in words]
            nearest = self._semantic.nearest(store, query, depth, deadline.left, also=ids)
            if words and self._fusion == "linear" and not nearest.legibility:
                nearest = Nearest([], f"{nearest.model!r} does not know the words of the query")
            meaning = nearest.ranking
            wanted = _activations(store) if activation else {}
            ranked = self._ranked(store, query, words, nearest, wanted)
            texts, groups = _groups(store, ranked, max(top_k, _RERANKED if self._reranker else 0))
            groups, late = self._reranked(query, groups, texts, deadline)
            hits = _hits(groups[:top_k], texts, words, meaning)
            short = nearest.shortfall and f"{nearest.shortfall}: {self._remedy(store)}"
        mode: Mode = "lexical"
        if meaning:
            mode = "hybrid" if words else "semantic"
            if not words and incomplete is None:
                incomplete = "no chunk holds a word of the query"
        return Answer(
            hits=hits,
            mode=mode,
            reason="; ".join(filter(None, (incomplete, nearest.reason, short, late))) or None,
            seconds=time.perf_counter() - began,
            model=nearest.model if meaning else None,
            engine=nearest.engine if meaning else None,
        )

    def _ranked(
        self,
        store: Store,
        query: str,
        words: list[Match],
        nearest: Nearest,
        wanted: Mapping[str, float],
    ) -> list[Ranked]:
        """Return the chunks of both rankings that still exist, fused, best first."""
        meaning = [one for one, _ in nearest.ranking]
        passages = store.passages([*(match.id for match in words), *meaning])
        weight = SEMANTIC * (nearest.legibility if words else 1.0)
        if self._fusion == "rrf" and words and meaning:
            lexical = rank_candidates(query, _candidates(passages, words), wanted)
            return _fused(lexical, [passages[one] for one in meaning if one in passages])
        known = {match.id for match in words}
        others = [one for one in meaning if one not in known]
        try:
            scores = self._lexical.scores(query, others)
        except LexicalIndexDamaged:  # the next search rebuilds it
            scores = {}
        more = [Match(one, scores.get(one, 0.0)) for one in others]
        candidates = _candidates(passages, words + more, nearest.cosines, weight)
        return rank_candidates(query, candidates, wanted)

    def _reranked(
        self, query: str, groups: list[FileGroup], texts: Mapping[int, str], deadline: Deadline
    ) -> tuple[list[FileGroup], str | None]:
        """Return `groups`, the first of them in the order of the reranker, and why not."""
        if self._reranker is None:
            return groups, None
        first, others = groups[:_RERANKED], groups[_RERANKED:]
        scores: dict[int, float] = {}
        try:
            for start in range(0, len(first), _A_RUN):
                if scores and deadline.is_over:
                    return groups, f"{self._reranker.model!r} was late, so it reranked nothing"
                passages = [group.best.passage for group in first[start : start + _A_RUN]]
                documents = [f"{each.heading}\n{texts[each.id]}".strip() for each in passages]
                for each in self._reranker.rank(
                    query, documents, activation="identity", timeout=deadline.left
                ):
                    scores[start + each["corpus_id"]] = each["score"]
        except InvalidInput:
            raise
        except HotstartError as error:
            return groups, f"reranked nothing: {error.facts}"
        return by_reranker(first, scores) + others, None

    def _remedy(self, store: Store) -> str:
        """Return what brings the vectors that are missing."""
        from hotstart.files import exclusive

        if store.is_read_only:
            return "the index cannot be written here"
        with exclusive(self._lock_path, wait=False) as held:
            return "update the index" if held else "another process is computing them"

    @property
    def _lock_path(self) -> str:
        return os.path.join(self._home, _LOCK)

    def _lexical_ranking(
        self, store: Store, query: str, depth: int
    ) -> tuple[list[Match], str | None]:
        """Return the chunks with a word of the query, and why some may be missing."""
        agrees = self._lexical.agrees(store, recount=False)
        incomplete = None if agrees else self._sync_lexical(store)
        try:
            return self._lexical.search(query, depth), incomplete
        except LexicalIndexDamaged:
            incomplete = self._sync_lexical(store)
            if incomplete:
                return [], incomplete
            return self._lexical.search(query, depth), None

    def _refuse_links(self) -> None:
        """Raise IndexDamaged for a link: a foreign folder's may lead to files of the user."""
        names = ("", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", _LOCK, "lexical", _IGNORED)
        for path in (os.path.join(self._home, name) if name else self._home for name in names):
            if os.path.islink(path):
                remedy = "Remove the link, then run hotstart index again"
                raise IndexDamaged(path, reason="it is a symbolic link", remedy=remedy)

    def _sync_lexical(self, store: Store) -> str | None:
        """Update the lexical index; return the reason if that is impossible now."""
        from hotstart.files import exclusive

        if store.is_read_only:
            return _READ_ONLY
        with exclusive(self._lock_path, wait=False) as held:
            if not held:
                return _BEHIND
            self._lexical.sync(store)
        return None

    def _keep_from_git(self) -> None:
        from hotstart.files import write_whole

        path = os.path.join(self._home, _IGNORED)
        if not os.path.exists(path):
            write_whole(path, b"*\n")


def _check(query: str, top_k: int, timeout: float | None) -> None:
    if not isinstance(query, str) or not query.strip():
        raise InvalidInput("query", got=query, expected="a text with a word in it")
    if not isinstance(top_k, int) or top_k < 1:
        raise InvalidInput("top_k", got=top_k, expected="a positive integer")
    Deadline(timeout)  # raises for what is no number
    if timeout is not None and timeout < 0:
        raise InvalidInput("timeout", got=timeout, expected="a number from 0 on, or None")


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


def _groups(
    store: Store, ranked: list[Ranked], limit: int
) -> tuple[dict[int, str], list[FileGroup]]:
    """Return the first `limit` files, each with its best chunk, and the texts of those."""
    best = {each.passage.path: each.passage.id for each in reversed(ranked)}
    heads = [each.passage.id for each in ranked if best[each.passage.path] == each.passage.id]
    texts = store.texts(heads[: _COMPARED * limit])
    groups = grouped(ranked, limit, texts)
    return texts, [group for group in groups if group.best.passage.id in texts]


def _hits(
    groups: list[FileGroup], texts: Mapping[int, str], words: list[Match], meaning: Ranking
) -> tuple[Hit, ...]:
    found = {
        "lexical": {match.id for match in words},
        "semantic": {one for one, _ in meaning},
    }
    return tuple(_hit(group, texts[group.best.passage.id], found) for group in groups)


def _hit(group: FileGroup, text: str, found: dict[str, set[int]]) -> Hit:
    passage = group.best.passage
    return Hit(
        path=passage.path,
        start_line=passage.start_line,
        end_line=passage.end_line,
        heading=passage.heading,
        text=text,
        score=group.best.score,
        found_by=tuple(way for way, ids in found.items() if passage.id in ids),
        parts=group.best.parts,
        others=tuple(
            Place(other.path, other.start_line, other.end_line, other.heading)
            for other in (each.passage for each in group.others[:_MOST_OTHERS])
        ),
    )
