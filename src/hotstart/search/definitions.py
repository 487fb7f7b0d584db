"""How a definition looks in each language: one line of a table rather than a parser each."""

from __future__ import annotations

import re
from typing import NamedTuple


class Definitions(NamedTuple):
    """The definitions of a language.

    Attributes:
        pattern: matches a line that opens a definition; its first group with a text is the name.
        above: how a line starts that belongs to the definition right below it.
    """

    pattern: re.Pattern[str]
    above: tuple[str, ...]


_SLASHES = ("//", "/*", "*", "@")
_HASHES = ("#",)


def _language(above: tuple[str, ...], *forms: str) -> Definitions:
    return Definitions(re.compile("|".join(forms)), above)


_MODIFIERS = (
    r"(?:(?:public|private|protected|internal|static|final|abstract|sealed|partial|override|open"
    r"|async|virtual|synchronized|native|default|readonly|suspend|inline|data|implicit|lazy|case)"
    r"\s+)"
)
_TYPES = r"(?:class|interface|enum|record|struct|trait|object|@interface|extension|protocol)"

_JAVASCRIPT = _language(
    _SLASHES,
    r"(?:export\s+)?(?:default\s+)?(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?"
    r"((?:function\b\s*\*?|class|interface|enum|type|namespace)\s*[\w$]+)",
    r"(?:export\s+)?((?:const|let|var)\s+[\w$]+)[^=]*=\s*(?:async\b\s*)?"
    r"(?:function\b|\(|[\w$]+\s*=>)",
)
_JAVA = _language(
    _SLASHES,
    rf"\s*{_MODIFIERS}*({_TYPES}\s+\w+)",
    rf"\s*{_MODIFIERS}*((?:fun|func|def)\s+[\w.<>]+)",
    rf"\s+{_MODIFIERS}+(?:[\w<>\[\],.?]+\s+)*(\w+)\s*\(",
)
_C = _language(
    ("//", "/*", "*", "template"),
    r"(?:typedef\s+)?((?:struct|class|enum|union|namespace)\s+[\w:]+)[^;]*$",
    r"(?!return\b|else\b|if\b|for\b|while\b|switch\b|case\b)[A-Za-z_][\w:<>,*&\s]*?"
    r"([~\w][\w:~]*)\s*\([^;]*$",
)

DEFINITIONS: dict[str, Definitions] = {
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), _JAVASCRIPT),
    **dict.fromkeys((".java", ".kt", ".kts", ".scala", ".cs", ".swift", ".dart"), _JAVA),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx"), _C),
    ".go": _language(("//",), r"(func\s*(?:\([^)]*\)\s*)?\w+)", r"(type\s+\w+)"),
    ".rs": _language(
        ("//", "#["),
        r"\s*(?:pub(?:\([^)]*\))?\s+)?(?:(?:default|async|unsafe|const)\s+|extern\s+\"[^\"]*\"\s+)*"
        r"((?:fn|struct|enum|trait|union|mod|macro_rules!)\s+\w+|impl\b[^{]*)",
    ),
    ".rb": _language(_HASHES, r"\s*((?:class|module|def)\s+[\w.:?!]+)"),
    ".php": _language(
        _SLASHES, rf"\s*{_MODIFIERS}*((?:function|class|interface|trait|enum)\s+&?\w+)"
    ),
    ".lua": _language(("--",), r"\s*(?:local\s+)?(function\s+[\w.:]+)"),
    ".sql": _language(("--",), r"(?i:\s*(create\s+(?:or\s+replace\s+)?\w+\s+[\w.\"]+))"),
    **dict.fromkeys(
        (".sh", ".bash", ".zsh"),
        _language(_HASHES, r"\s*(function\s+[\w:-]+)", r"\s*([\w:-]+)\s*\(\)"),
    ),
    # Python that does not parse: of another version, or unfinished.
    **dict.fromkeys(
        (".py", ".pyi", ".pyw"),
        _language(("#", "@"), r"(?:    )?(?:async\s+)?((?:class|def)\s+\w+)"),
    ),
}
"""By file extension, in lower case."""
