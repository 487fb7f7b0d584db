"""`SearchIndex`: update and search an index of a folder."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotstart.errors import IndexBusy, IndexMissing, InvalidInput
from hotstart.search.lexical import LexicalIndex, LexicalIndexDamaged
from hotstart.search.semantic import Semantic
from hotstart.search.store import Store

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.search.indexing import OnProgress, UpdateReport
    from hotstart.types import Mode


@dataclass(frozen=True)
class Hit:
    """One chunk that answers a query.

    Attributes:
        path: the file, relative to the indexed folder, with forward slashes.
        start_line: the chunk's first line, counted from 1.
        end_line: its last line.
        heading: where in the file it stands, such as "Guide > Install"; "" where nothing says so.
        text: the chunk as it was when the index was last updated.
        score: higher is better; scores compare within one answer only.
        found_by: `lexical`, `semantic` or both.
    """

    path: str
    start_line: int
    end_line: int
    heading: str
    text: str
    score: float
    found_by: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """The hits of one search, best first, and how they were found.

    Attributes:
        mode: `hybrid`, `lexical`, or `semantic` where no chunk holds a word of the query.
        reason: why this is not a hybrid answer over the whole index; None if it is.
        seconds: how long the search took.
        model: the model whose vectors took part; None in a lexical answer.
        engine: what ran that model.
    """

    hits: tuple[Hit, ...]
    mode: Mode
    reason: str | None
    seconds: float
    model: str | None
    engine: str | None


def reciprocal_rank_fusion(
    rankings: Sequence[Sequence[int]], k: int = 60
) -> list[tuple[int, float]]:
    """Return the ids of all `rankings` with their fused score, best first.

    An id scores 1 / (k + rank) for each ranking that has it, the best rank being 1; where a ranking
    repeats an id, its best rank counts. The order of the rankings does not matter; of equal scores
    the lower id comes first.

    Cormack, Clarke and Büttcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
    learning methods", SIGIR 2009, which also gives k = 60.
    """
    terms: dict[int, list[float]] = {}
    for ranking in rankings:
        for rank, identifier in enumerate(dict.fromkeys(ranking), start=1):
            terms.setdefault(identifier, []).append(1 / (k + rank))
    scores = [(identifier, math.fsum(parts)) for identifier, parts in terms.items()]
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))


HOME = ".hotstart"
"""The folder, within the indexed one, that holds the index and nothing else."""

_DATABASE = "index.db"
_DEPTH = 100  # ranks of each ranking that are fused
_BEHIND = "another process is writing the index, so its latest changes may be missing"

RankRequest = list[tuple[int, float]]


class SearchIndex:
    """The index of the folder `path`. Making one touches nothing; safe from any thread.

    Args:
        path: the folder whose files are searched; the index lies in `.hotstart` within it.
        embedder: makes the vectors; without one, answers are lexical.
    """

    def __init__(self, path: str | os.PathLike[str], embedder: Embedder | None = None) -> None:
        self._path = os.path.abspath(os.fspath(path))
        self._home = os.path.join(self._path, HOME)
        self._database = os.path.join(self._home, _DATABASE)
        self._embedder = embedder
        self._lexical = LexicalIndex(os.path.join(self._home, "lexical"))
        self._semantic = Semantic(embedder)

    def __repr__(self) -> str:
        return f"SearchIndex({self._path!r})"

    @classmethod
    def nearest(cls, path: str | os.PathLike[str], embedder: Embedder | None = None) -> SearchIndex:
        """Return the index of `path`, or of the nearest folder above it that has one.

        Raises:
            IndexMissing: there is none.
        """
        folder = start = os.path.abspath(os.fspath(path))
        while not os.path.isfile(os.path.join(folder, HOME, _DATABASE)):
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                raise IndexMissing(start)
        return cls(folder, embedder)

    @property
    def path(self) -> str:
        """The folder that is indexed."""
        return self._path

    def update(self, on_progress: OnProgress | None = None) -> UpdateReport:
        """Bring the index to what the folder holds now; only what changed is read and embedded.

        What was done when it is interrupted, killed even, stays; the next update goes on from it.

        Args:
            on_progress: called with the phase, the steps done in it and its steps in all.

        Raises:
            IndexBusy: another process is updating it.
            IndexDamaged: the database is not ours, or cannot be read or written.
            HotstartError: the model could not be loaded; the answers are lexical until it is.
        """
        from hotstart.files import exclusive
        from hotstart.search.indexing import update_index

        if not os.path.isdir(self._path):
            raise InvalidInput("path", got=self._path, expected="a folder that exists")
        with exclusive(self._lock, wait=False) as held:
            if not held:
                raise IndexBusy(self._path)
            self._keep_from_git()
            with Store(self._database) as store:
                return update_index(self._path, store, self._lexical, self._embedder, on_progress)

    def search(self, query: str, top_k: int = 10, timeout: float | None = None) -> Answer:
        """Return the `top_k` chunks that answer `query` best.

        Chunks that hold its words and chunks near to its meaning are fused by reciprocal rank.
        Where the query's vector is not to be had in time, or at all, the answer is lexical, and
        its `reason` says why.

        Args:
            query: words or a question.
            top_k: the most hits returned.
            timeout: seconds to wait for the model; 0 never waits, None as long as its load takes.

        Raises:
            InvalidInput: an argument cannot be used.
            IndexMissing: the folder was never indexed.
            IndexDamaged: the database is not ours, or cannot be read.
        """
        began = time.perf_counter()
        _check(query, top_k, timeout)
        if not os.path.isfile(self._database):
            raise IndexMissing(self._path)
        self._semantic.start()
        depth = max(top_k, _DEPTH)
        with Store(self._database) as store:
            words, behind = self._by_words(store, query, depth)
            left = None if timeout is None else timeout - (time.perf_counter() - began)
            nearest = self._semantic.nearest(store, query, depth, left)
            meaning = nearest.ranking
            hits = _hits(store, words, meaning, top_k)
        mode: Mode = "lexical" if not meaning else "hybrid" if words else "semantic"
        wordless = "no chunk holds a word of the query" if mode == "semantic" else None
        return Answer(
            hits=hits,
            mode=mode,
            reason="; ".join(filter(None, (behind, wordless, nearest.reason))) or None,
            seconds=time.perf_counter() - began,
            model=nearest.model if meaning else None,
            engine=nearest.engine if meaning else None,
        )

    @property
    def _lock(self) -> str:
        return os.path.join(self._home, "lock")

    def _by_words(self, store: Store, query: str, depth: int) -> tuple[RankRequest, str | None]:
        """The lexical ranking, and why it may not be that of the whole store."""
        behind = None if self._lexical.agrees(store) else self._mend(store)
        try:
            return self._lexical.search(query, depth), behind
        except LexicalIndexDamaged:
            behind = self._mend(store)
            return ([] if behind else self._lexical.search(query, depth)), behind

    def _mend(self, store: Store) -> str | None:
        """Bring the lexical index up to date; return why that is impossible now."""
        from hotstart.files import exclusive

        with exclusive(self._lock, wait=False) as held:
            if not held:
                return _BEHIND
            self._lexical.sync(store)
        return None

    def _keep_from_git(self) -> None:
        from hotstart.files import write_whole

        path = os.path.join(self._home, ".gitignore")
        if not os.path.exists(path):
            write_whole(path, b"*\n")


def _check(query: str, top_k: int, timeout: float | None) -> None:
    if not isinstance(query, str) or not query.strip():
        raise InvalidInput("query", got=query, expected="a text with a word in it")
    if top_k < 1:
        raise InvalidInput("top_k", got=top_k, expected="a number from 1 on")
    if timeout is not None and not timeout >= 0:
        raise InvalidInput("timeout", got=timeout, expected="seconds from 0 on, or None")


def _hits(store: Store, words: RankRequest, meaning: RankRequest, top_k: int) -> tuple[Hit, ...]:
    """The best `top_k` of both rankings, without chunks that are gone from the store."""
    found = {
        "lexical": {identifier for identifier, _ in words},
        "semantic": {identifier for identifier, _ in meaning},
    }
    ranking = words or meaning
    if words and meaning:
        ranking = reciprocal_rank_fusion(
            [[identifier for identifier, _ in one] for one in (words, meaning)]
        )
    passages = store.passages([identifier for identifier, _ in ranking])
    present = [scored for scored in ranking if scored[0] in passages]
    return tuple(
        Hit(
            path=passages[identifier].path,
            start_line=passages[identifier].start_line,
            end_line=passages[identifier].end_line,
            heading=passages[identifier].heading,
            text=passages[identifier].text,
            score=score,
            found_by=tuple(way for way, ids in found.items() if identifier in ids),
        )
        for identifier, score in present[:top_k]
    )
