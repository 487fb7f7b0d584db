"""The chunks among which a query is answered: those that its filters leave.

They are found before any ranking is cut, so that the limit counts what passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.query import Query, file_filter
from hotstart.search.words import sequence_of

if TYPE_CHECKING:
    from hotstart.search.expressions import Expression
    from hotstart.search.lexical import LexicalIndex
    from hotstart.search.store import Store

_READ = 500  # texts that are read at a time


class Selection(NamedTuple):
    """What the filters of a query leave.

    Attributes:
        ids: the chunks in the order of their files.
        notes: what an answer must say of the filters.
    """

    ids: Sequence[int]
    notes: tuple[str, ...]


def select_chunks(
    query: Query, store: Store, lexical: LexicalIndex, expression: Expression | None = None
) -> Selection:
    """Return the chunks that pass the filters of `query` and hold a match of `expression`.

    Phrases that no file holds do not count: their words are searched.
    """
    notes: list[str] = []
    passes = file_filter(query)
    documents = {one for one, path in store.paths().items() if passes(path)}
    if query.filters_files and not documents:
        notes.append("no indexed file passes the filters of path and language")
    for excluded in query.excluded:
        found = holding(excluded, store, lexical, exactly=" " in excluded)
        documents.difference_update(store.documents_of(found).values())
        notes.append(f"without files that hold {excluded!r}")
    ids = store.chunks_of(sorted(documents))
    if query.phrases and ids:
        phrased = _with_phrases(query.phrases, set(ids), store, lexical)
        if phrased:
            ids = [one for one in ids if one in phrased]
        else:
            missing = " and ".join(f'"{phrase}"' for phrase in query.phrases)
            notes.append(f"no file holds {missing}: its words were searched")
    if expression and ids:
        ids = list(_matching(expression, set(ids), store))
    return Selection(ids, tuple(notes))


def holding(words: str, store: Store, lexical: LexicalIndex, *, exactly: bool) -> list[int]:
    """Return the chunks that hold all of `words`; `exactly`, as they are and in this order."""
    found = lexical.holding(words)
    if not exactly:
        return found
    phrase = sequence_of(words)
    held = []
    for start in range(0, len(found), _READ):
        part = found[start : start + _READ]
        texts = store.texts(part)
        places = store.passages(part)
        for one, text in texts.items():
            around = f"{places[one].path}\n{places[one].heading}"
            if phrase in sequence_of(text) or phrase in sequence_of(around):
                held.append(one)
    return held


def _with_phrases(
    phrases: Sequence[str], among: Collection[int], store: Store, lexical: LexicalIndex
) -> set[int]:
    """Return the chunks with one of `phrases`, of the files that hold all of them."""
    chunks: set[int] = set()
    documents: set[int] | None = None
    for phrase in phrases:
        found = [one for one in holding(phrase, store, lexical, exactly=True) if one in among]
        held = set(store.documents_of(found).values())
        documents = held if documents is None else documents & held
        chunks.update(found)
    of = store.documents_of(list(chunks))
    return {one for one in chunks if of.get(one) in (documents or ())}


def _matching(expression: Expression, among: Collection[int], store: Store) -> Iterator[int]:
    literal = max(expression.literals, key=len, default="")
    for one, text in store.each_text(literal):
        if one in among and next(expression.lines(text), None):
            yield one
