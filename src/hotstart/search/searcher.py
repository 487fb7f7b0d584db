"""Answer queries over a store: words, meaning, signals, files.

A search is read from top to bottom in `Searcher.answer`. Policy is elsewhere and pure: `query`,
`fusion`, `ranking`, `activation`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hotstart.errors import HotstartError, InvalidInput
from hotstart.search.activation import activations
from hotstart.search.answer import Answer, Hit, Place
from hotstart.search.fusion import SEMANTIC, Fusion, reciprocal_rank_fusion
from hotstart.search.lexical import LexicalIndex, LexicalIndexDamaged, Match
from hotstart.search.query import Query, select_chunks
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
from hotstart.search.words import MOST_WORDS, replaced

if TYPE_CHECKING:
    from hotstart.concurrency import Deadline
    from hotstart.embedder import Embedder
    from hotstart.reranker import Reranker
    from hotstart.search.expressions import Expression
    from hotstart.search.location import IndexLocation
    from hotstart.search.store import Passage, Store, StoredDocument
    from hotstart.types import Mode

_DEPTH = 60  # chunks of each ranking, at least
_DEEPER = 3  # times as many chunks as hits: a file gives one hit
_COMPARED = 2  # times as many files as hits, whose texts are compared
_RERANKED = 20  # hits that a reranker orders
_A_RUN = 5  # of them are read at a time, so that a late reranker is given up soon
_MOST_OTHERS = 10  # places that a hit lists
_BEHIND = "another process is writing the index, so its latest changes may be missing"
_READ_ONLY = "the index cannot be written here, so its latest changes may be missing"


class Question(NamedTuple):
    """A query and how to answer it.

    Attributes:
        query: the words and the filters.
        expression: a regular expression that every hit matches; None for none.
        top_k: maximal number of hits.
        min_score: least score of a hit.
        activation: whether files in use rank higher.
        deadline: until when to wait for models.
    """

    query: Query
    expression: Expression | None
    top_k: int
    min_score: float
    activation: bool
    deadline: Deadline


class Found(NamedTuple):
    """The chunks that answer by their words.

    Attributes:
        text: the query as it was searched, misspelt words replaced.
        matches: chunks with a word of it, or all that match the expression.
        among: the chunks that pass the filters; None for all.
        notes: what the answer must say of them.
    """

    text: str
    matches: list[Match]
    among: Sequence[int] | None = None
    notes: tuple[str, ...] = ()


class Searcher:
    """Answers queries over the index in `location`. Thread-safe."""

    def __init__(
        self,
        location: IndexLocation,
        lexical: LexicalIndex,
        embedder: Embedder | None,
        fusion: Fusion,
        reranker: Reranker | None,
    ) -> None:
        self._location = location
        self._lexical = lexical
        self._semantic = Semantic(embedder)
        self._fusion = fusion
        self._reranker = reranker

    def answer(self, store: Store, question: Question) -> Answer:
        """Return the best files, each by its best chunk."""
        began = time.perf_counter()
        text, expression, deadline = question.query.text, question.expression, question.deadline
        if expression is None:
            self._start_loading(store)
        depth = max(_DEEPER * question.top_k, _DEPTH)
        found = self._find(store, question.query, expression, depth)
        nearest = Nearest([], "a regular expression has no vector")
        if expression is None:
            nearest = self._nearest(store, text, found, depth, deadline.left)
        used = _activations(store) if question.activation else {}
        ranked = with_activation(self._ranked(store, found, nearest), used)
        if expression is None:
            groups, texts, late = self._grouped(store, text, ranked, question.top_k, deadline)
        else:  # each file with a match is one hit, however alike they are
            groups, late = grouped(ranked, question.top_k, {}), None
            texts = store.texts([group.best.passage.id for group in groups])
            groups = [group for group in groups if group.best.passage.id in texts]
        hits = list(self._hits(store, groups, texts, found, nearest))
        if expression:
            hits = list(_matching_lines(store, hits, groups, expression))
            if not text:  # no words to have a share of
                hits = [replace(hit, score=1.0) for hit in hits]
        short = nearest.shortfall and f"{nearest.shortfall}: {self._remedy(store)}"
        notes = found.notes
        mode: Mode = "lexical"
        if nearest.ranking:
            mode = "hybrid" if found.matches else "semantic"
            if mode == "semantic" and not notes:
                notes = ("no chunk holds a word of the query",)
        return Answer(
            query=found.text,
            hits=tuple(hit for hit in hits if hit.score >= question.min_score),
            mode=mode,
            reason="; ".join(filter(None, (*notes, nearest.reason, short, late))) or None,
            seconds=time.perf_counter() - began,
            model=nearest.model if nearest.ranking else None,
            engine=nearest.engine if nearest.ranking else None,
        )

    def _start_loading(self, store: Store) -> None:
        if store.has_vectors():
            self._semantic.start()
        if self._reranker:
            self._reranker.start_loading()

    # Words ------------------------------------------------------------------------------------

    def _find(self, store: Store, query: Query, expression: Expression | None, depth: int) -> Found:
        """Return the chunks with a word of the query, brought up to date if that can be."""
        agrees = self._lexical.agrees(store, recount=False)
        incomplete = None if agrees else self._sync_lexical(store)
        try:
            found = self._look_up(store, query, expression, depth)
        except LexicalIndexDamaged:
            incomplete = self._sync_lexical(store)
            if incomplete:
                return Found(query.text, [], None if query.is_plain else (), (incomplete,))
            found = self._look_up(store, query, expression, depth)
        return found._replace(notes=(incomplete, *found.notes)) if incomplete else found

    def _look_up(
        self, store: Store, query: Query, expression: Expression | None, depth: int
    ) -> Found:
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
            depth = len(among or ())
        else:
            for word, other in self._lexical.corrections(text, store).items():
                text = replaced(text, word, other)
                notes.append(f"no {word!r}: searched {other!r}")
        matches = self._lexical.search(text, depth, among) if among != [] else []
        if expression:
            ranked = {match.id for match in matches}
            matches += [Match(one, 0.0) for one in among or () if one not in ranked]
        return Found(text, matches, among, tuple(notes))

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

    # Meaning ----------------------------------------------------------------------------------

    def _nearest(
        self, store: Store, text: str, found: Found, depth: int, timeout: float | None
    ) -> Nearest:
        """Return the chunks whose vectors are nearest, and the cosines of those already found."""
        ids = [match.id for match in found.matches]
        # The text as it was typed: a model reads misspelt words, and none is replaced wrongly.
        nearest = self._semantic.nearest(store, text, depth, timeout, also=ids, among=found.among)
        if ids and self._fusion == "linear" and not nearest.legibility:
            return Nearest([], f"{nearest.model!r} does not know the words of the query")
        return nearest

    def _remedy(self, store: Store) -> str:
        """Return what brings the vectors that are missing."""
        from hotstart.files import exclusive

        if store.is_read_only:
            return "the index cannot be written here"
        with exclusive(self._location.lock, wait=False) as held:
            return "update the index" if held else "another process is computing them"

    # Order ------------------------------------------------------------------------------------

    def _ranked(self, store: Store, found: Found, nearest: Nearest) -> list[Ranked]:
        """Return the chunks of both rankings that still exist, fused, best first."""
        words = found.matches
        meaning = [one for one, _ in nearest.ranking]
        passages = store.passages([*(match.id for match in words), *meaning])
        if self._fusion == "rrf" and words and meaning:
            lexical = rank_candidates(found.text, _candidates(passages, words))
            return _fused(lexical, [passages[one] for one in meaning if one in passages])
        known = {match.id for match in words}
        others = {one: Match(one, 0.0) for one in meaning if one not in known}
        try:
            also = self._lexical.search(found.text, len(others), list(others)) if others else []
        except LexicalIndexDamaged:  # the next search rebuilds it
            also = []
        others |= {match.id: match for match in also}
        weight = SEMANTIC * nearest.scale * (nearest.legibility if words else 1.0)
        candidates = _candidates(passages, [*words, *others.values()], nearest.cosines, weight)
        return rank_candidates(found.text, candidates)

    def _grouped(
        self, store: Store, query: str, ranked: list[Ranked], top_k: int, deadline: Deadline
    ) -> tuple[list[FileGroup], dict[int, str], str | None]:
        """Return the first `top_k` files, the texts of their best chunks, and why not reranked."""
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
        return groups[:top_k], texts, late

    # Hits -------------------------------------------------------------------------------------

    def _hits(
        self,
        store: Store,
        groups: Sequence[FileGroup],
        texts: Mapping[int, str],
        found: Found,
        nearest: Nearest,
    ) -> Iterator[Hit]:
        """Yield the hit of each group."""
        known = store.documents([group.best.passage.path for group in groups])
        try:
            shares = self._lexical.shares(found.text, [group.best.passage.id for group in groups])
        except LexicalIndexDamaged:  # the next search rebuilds it
            shares = {}
        matching = {match.id for match in found.matches}
        near = dict(nearest.ranking)
        root = self._location.root
        for each in groups:
            passage = each.best.passage
            cosine = nearest.cosines.get(passage.id, 0.0)
            ways = {"lexical": passage.id in matching, "semantic": passage.id in near}
            others = [other.passage for other in each.others[:_MOST_OTHERS]]
            yield Hit(
                folder=root,
                path=passage.path,
                start_line=passage.start_line,
                end_line=passage.end_line,
                heading=passage.heading,
                text=texts[passage.id],
                score=min(1.0, max(shares.get(passage.id, 0.0), cosine)),
                found_by=tuple(way for way, is_so in ways.items() if is_so),
                parts=each.best.parts,
                others=tuple(
                    Place(other.path, other.start_line, other.end_line, other.heading)
                    for other in others
                ),
                is_current=_is_current(os.path.join(root, passage.path), known.get(passage.path)),
            )


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
    # The least near one adds nothing; one without a vector yet counts as one of average meaning.
    average = sum(cosines.values()) / len(cosines) if cosines else 0.0
    least = min(cosines.values(), default=0.0)
    return [
        Candidate(
            passage=passages[match.id],
            score=match.score,
            defines=match.defines,
            semantic=weight * (cosines.get(match.id, average) - least),
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


def _matching_lines(
    store: Store, hits: Sequence[Hit], groups: Sequence[FileGroup], expression: Expression
) -> Iterator[Hit]:
    """Yield `hits` with the lines of their first match; further matches are other places."""
    for hit, group in zip(hits, groups, strict=True):
        chunks = [group.best, *sorted(group.others, key=lambda each: each.passage.start_line)]
        passages = [each.passage for each in chunks[: _MOST_OTHERS + 1]]
        texts = store.texts([passage.id for passage in passages])
        places = []
        lines: list[str] = []
        for passage in passages:
            text = texts.get(passage.id, "")
            for first, last in expression.lines(text):
                lines = lines or text.split("\n")[first : last + 1]
                start, end = passage.start_line + first, passage.start_line + last
                places.append(Place(passage.path, start, end, passage.heading))
        if places:
            yield replace(
                hit,
                start_line=places[0].start_line,
                end_line=places[0].end_line,
                text="\n".join(lines),
                others=tuple(places[1 : _MOST_OTHERS + 1]),
            )
