"""Names that a source file defines, and symbols that a query asks for."""

from __future__ import annotations

import os
import re

from hotstart.search.words import joined

_WITHOUT = {".md", ".markdown", ".mdx", ".rst", ".txt", ".json", ".lock", ".csv", ".html", ".svg"}

_MODIFIER = (
    r"(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|sealed"
    r"|partial|override|open|async|virtual|synchronized|native|readonly|suspend|inline|data|const"
    r"|unsafe|extern|local|pub(?:\([^)\n]*\))?|typedef|cdef|cpdef|template|implicit|case)\s+)"
)
_KEYWORD = (
    r"(?:class|def|defp|defmodule|defmacro|function\*?|func|fun|fn|struct|enum|union|trait"
    r"|interface|type|newtype|module|mod|namespace|record|object|protocol|extension|macro_rules!"
    r"|impl|sub|package|contract|abstract class|data class)"
)
_DEFINED = re.compile(
    rf"^[ \t]*{_MODIFIER}*(?:{_KEYWORD}\s+(?:\([^)\n]*\)\s*)?(?:self\.)?([\w$]+)"
    r"|(?:const|let|var|static)\s+(?:mut\s+)?([\w$]+)[^=\n]*=\s*(?:async\b|function\b|\(|class\b|\w+\s*=>)"
    r"|#[ \t]*define\s+(\w+)"
    r"|(?:[\w.]+\.)?(?:prototype|exports)\.([\w$]+)\s*=[^=])",
    re.MULTILINE,
)
# A method or function of the languages whose definitions begin with the type or the name.
_METHOD = re.compile(
    r"^[ \t]*(?!(?:return|else|if|for|while|switch|case|catch|throw|new|do|await|yield|delete)\b)"
    r"(?:[\w:<>\[\],.?~]+[ \t*&]+)*?[*&]?(?:\w+::)?([A-Za-z_$~][\w$]*)\s*\([^;{}]*\)"
    r"[^;{}()=]*\{",
    re.MULTILINE,
)
_WITH_METHODS = re.compile(
    r"\.(?:[cm]?[jt]sx?|java|kt|cs|swift|dart|c|h|cc|[chi]pp|[ch]xx|hh|m|php|scala|groovy|sh|bash)"
)
_LONGEST = 60  # characters of a name


def defined_names(path: str, text: str) -> list[str]:
    """Return the names that `text`, a part of the file `path`, defines, each as one word."""
    extension = os.path.splitext(path)[1].lower()
    if extension in _WITHOUT:
        return []
    found = [next(filter(None, match), "") for match in _DEFINED.findall(text)]
    if _WITH_METHODS.fullmatch(extension):
        found += _METHOD.findall(text)
    names = (joined(name.strip("$~")) for name in found)
    return [name for name in dict.fromkeys(names) if 1 < len(name) <= _LONGEST]


_SYMBOL = re.compile(r"[A-Za-z_$][\w$]*")
_QUALIFIED = re.compile(r"[\w$]+(?:(?:\.|::|#|->)[\w$]+)+(?:\(\))?")
_COMPOUND = re.compile(r"[a-z\d][A-Z]|[A-Z]{2,}[a-z]|[^\W_]_[^\W_]")


def symbols_of(query: str) -> list[str]:
    """Return the symbols that `query` names, each as one word.

    A symbol is written in camel or snake case, with a dot or `::` before it or parentheses behind,
    or is the whole query.
    """
    words = query.split()
    found = []
    for word in words:
        names = _SYMBOL.findall(word)
        if _QUALIFIED.fullmatch(word) or word.endswith("()"):
            names = names[-1:]
            found += names
        found += [name for name in names if len(words) == 1 or _COMPOUND.search(name)]
    return list(dict.fromkeys(joined(name) for name in found))
