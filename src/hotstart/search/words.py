"""The words of a text as the lexical index sees them, identifiers taken apart."""

from __future__ import annotations

import re

MOST_WORDS = 64
"""Distinct words of a query that count; a longer query is cut."""

_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def parts_of(text: str) -> list[str]:
    """Return the parts of the compound identifiers in `text`, each once, in lower case.

    `getModelName` gives get, model, name; `HTTPServer` http, server. Words that are not compound
    give nothing; snake_case is no compound here, the tokeniser cuts it by itself.
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
