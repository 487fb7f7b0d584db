"""Names that a source file defines, and symbols that a query asks for."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from hotstart.search.words import joined


class Definition(NamedTuple):
    """A definition in lines [start, end), counted from 0, with the comments and decorators above.

    Attributes:
        depth: how many definitions are around it.
        title: such as `def get`, without what it is nested in.
        signature: what stands before its body, in one line.
        name: the defined name alone.
        name_line: where the name stands.
    """

    start: int
    end: int
    depth: int
    title: str
    signature: str
    name: str
    name_line: int


_MODIFIER = (
    r"(?:(?:export|default|declare|public|private|protected|internal|static|final|abstract|sealed"
    r"|partial|override|open|async|virtual|synchronized|native|readonly|suspend|inline|data|const"
    r"|unsafe|extern|local|pub(?:\([^)\n]*\))?|typedef|cdef|cpdef|template|implicit|case)\s+)"
)
_KEYWORD = (
    r"(?:class|def|defp|defmodule|defmacro|function\*?|func|fun|fn|struct|enum|union|trait"
    r"|interface|type|newtype|module|mod|namespace|record|object|protocol|extension|macro_rules!"
    r"|impl|sub|package|contract|message|service|abstract class|data class"
    r"|(?i:create(?:\s+or\s+replace)?\s+\w+))"
)
_DEFINED = re.compile(
    rf"[ \t]*{_MODIFIER}*(?:({_KEYWORD}\s+(?:\([^)\n]*\)\s*)?(?:[\w$]+[.:])*([\w$]+))"
    r"|((?:const|let|var|static)\s+(?:mut\s+)?([\w$]+))[^=\n]*=\s*(?:async\b|function\b|\(|class\b|\w+\s*=>)"
    r"|(#[ \t]*define\s+(\w+))"
    r"|((?:[\w.]+\.)?(?:prototype|exports)\.([\w$]+))\s*=[^=]"
    r"|(([\w.]+)\s*<-\s*function)\b"
    r"|\(((?:defn-?|defun|defmacro|defmethod|define)\s+\(?([^\s()]+)))"
)
# A method or function of the languages whose definitions begin with the type or the name.
_METHOD = re.compile(
    r"[ \t]*(?!(?:return|else|if|for|while|switch|case|catch|throw|new|do|await|yield|delete)\b)"
    r"(?:[\w:<>\[\],.?~]+[ \t*&]+)*?[*&]?((?:\w+::)?([A-Za-z_$~][\w$]*))\s*\([^;{}]*\)"
    r"[^;{}()=]*\{"
)
_WITH_METHODS = re.compile(
    r"\.(?:[cm]?[jt]sx?|java|kt|cs|swift|dart|c|h|cc|[chi]pp|[ch]xx|hh|m|php|scala|groovy|sh|bash)"
)
_ABOVE = re.compile(
    r"\s*(?://|/?\*|@|--|;|%|template\b|#(?!\s*(?:include|define|if|el|end|undef)))"
)
_READ = 400  # characters from the beginning of a line that may be a definition
_LINES = 4  # lines of a signature
_LONGEST = 100  # characters of a title


def find_definitions(path: str, lines: list[str]) -> list[Definition]:
    """Return the definitions in a source by patterns for many languages, nested by indentation."""
    with_methods = _WITH_METHODS.fullmatch(os.path.splitext(path)[1].lower())
    found: list[Definition] = []
    around: list[tuple[int, int]] = []  # the indentation of each definition, and its place in found
    for number, line in enumerate(lines):
        if not line[:_READ].strip():
            continue
        match = _DEFINED.match(line[:_READ])
        if match is None and with_methods:
            match = _METHOD.match("\n".join(lines[number : number + _LINES])[:_READ])
        if match is None:
            continue
        floor = found[-1].name_line + 1 if found else 0
        start = number
        while start > floor and _ABOVE.match(lines[start - 1][:_READ]):
            start -= 1
        indentation = len(line) - len(line.lstrip())
        while around and around[-1][0] >= indentation:
            place = around.pop()[1]
            found[place] = found[place]._replace(end=start)
        title, name = filter(None, match.groups())
        found.append(
            Definition(
                start=start,
                end=len(lines),
                depth=len(around),
                title=" ".join(title.split())[:_LONGEST],
                signature=" ".join(line.split())[:_LONGEST],
                name=name.strip("$~"),
                name_line=number,
            )
        )
        around.append((indentation, len(found) - 1))
    return found


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
