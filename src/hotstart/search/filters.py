"""The chunks among which a query is answered: those that its filters leave.

They are found before any ranking is cut, so that the limit counts what passes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.query import Query, file_filter

if TYPE_CHECKING:
    from hotstart.search.expressions import Expression
    from hotstart.search.lexical import LexicalIndex
    from hotstart.search.store import Store


class Selection(NamedTuple):
    """What the filters of a query leave.

    Attributes:
        ids: the chunks in the order of their files.
        notes: what an answer must say of the filters.
    """

    ids: list[int]
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
        is_phrase = len(excluded.split()) > 1
        found = lexical.holding_phrase(excluded) if is_phrase else lexical.holding(excluded)
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
        matching = _matching(expression, store)
        ids = [one for one in ids if one in matching]
    return Selection(ids, tuple(notes))


def _with_phrases(
    phrases: Sequence[str], among: Collection[int], store: Store, lexical: LexicalIndex
) -> set[int]:
    """Return the chunks with one of `phrases`, of the files that hold all of them."""
    chunks: set[int] = set()
    documents: set[int] | None = None
    for phrase in phrases:
        found = [one for one in lexical.holding_phrase(phrase) if one in among]
        held = set(store.documents_of(found).values())
        documents = held if documents is None else documents & held
        chunks.update(found)
    of = store.documents_of(list(chunks))
    return {one for one in chunks if of.get(one) in (documents or ())}


def _matching(expression: Expression, store: Store) -> set[int]:
    """Return the chunks that hold a match of `expression`."""
    literal = max(expression.literals, key=len, default="")
    texts = store.each_text(literal)
    return {one for one, text in texts if next(expression.lines(text), None)}
