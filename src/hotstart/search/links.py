"""Links between files: what a source imports, and where a page points to.

The patterns look for imports without knowing the rules of each build: a target is a path from the
folder of the file or the end of any path, with or without suffix. What names no indexed file is no
link.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from typing import NamedTuple

_MOST = 200  # links of a file; a table of contents of thousands says nothing
_MODULES = ("__init__", "index", "mod", "lib")  # files that stand for their folder


class _Imports(NamedTuple):
    """How links are written.

    Attributes:
        pattern: matches a link; its first group with a text is the target.
        separator: what stands between the parts of a target.
    """

    pattern: re.Pattern[str]
    separator: str


def _imports(separator: str, *forms: str) -> _Imports:
    return _Imports(re.compile("|".join(forms), re.MULTILINE), separator)


_IMPORTS = {
    **dict.fromkeys(
        (".py", ".pyi", ".pyw"),
        _imports(".", r"^\s*from\s+([\w.]+)\s+import\b", r"^\s*import\s+([\w.]+)"),
    ),
    **dict.fromkeys(
        (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".vue"),
        _imports(
            "/", r"\bfrom\s*['\"]([^'\"\n]+)", r"\b(?:import|require)\s*\(?\s*['\"]([^'\"\n]+)"
        ),
    ),
    **dict.fromkeys(
        (".java", ".kt", ".kts", ".scala", ".groovy", ".cs"),
        _imports(".", r"^\s*(?:import|using)\s+(?:static\s+)?([\w.]+)"),
    ),
    **dict.fromkeys(
        (".c", ".h", ".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".m", ".mm"),
        _imports("/", r"^\s*#\s*(?:include|import)\s*[<\"]([^>\"\n]+)"),
    ),
    ".go": _imports("/", r'^\s*(?:import\s+)?(?:\w+\s+)?"([\w./-]+)"$'),
    ".rs": _imports(
        "::", r"^\s*(?:pub\s+)?mod\s+(\w+);", r"^\s*(?:pub\s+)?use\s+(?:crate|super)::([\w:]+)"
    ),
    ".rb": _imports("/", r"^\s*require(?:_relative)?\s*\(?['\"]([^'\"\n]+)"),
    ".php": _imports("\\", r"^\s*use\s+([\w\\]+)"),
    ".lua": _imports(".", r"\brequire\s*\(?\s*['\"]([^'\"\n]+)"),
    **dict.fromkeys(
        (".md", ".markdown", ".mdx", ".rst", ".html", ".htm", ".adoc"),
        _imports("/", r"\]\(([^)\s#?]+)", r"\bhref=[\"']([^\"'#?\s]+)", r":doc:`([^`<>]+)`"),
    ),
}
"""By file extension, in lower case."""


def targets_of(path: str, text: str) -> list[str]:
    """Return the targets of the links in `text`, the content of the file `path`.

    Each is a path; `./` or `../` at its start means the folder of the file.
    """
    imports = _IMPORTS.get(posixpath.splitext(path)[1].lower())
    if imports is None:
        return []
    found: dict[str, None] = {}
    for match in imports.pattern.finditer(text):
        target = next(filter(None, match.groups()))
        if imports.separator != "/":
            target = _from_module(target, imports.separator)
        if "://" not in target:
            found[target] = None
    return list(found)[:_MOST]


def _from_module(name: str, separator: str) -> str:
    """Return the path of a module; in Python each leading dot but one is a folder upwards."""
    plain = name.lstrip(".")
    dots = len(name) - len(plain)
    folder = "./" if dots == 1 else "../" * (dots - 1)
    return folder + plain.replace(separator, "/")


class FileNames:
    """The paths of an index, to find the file that a link names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._whole: dict[str, str] = {}
        self._by_name: dict[str, list[str]] = {}
        for path in sorted(paths):
            for name in dict.fromkeys(_names(path)):
                self._whole.setdefault(name, path)
                self._by_name.setdefault(posixpath.basename(name), []).append(path)

    def find(self, path: str, target: str) -> str | None:
        """Return the file that `target`, a link in the file `path`, names; None if there is none.

        Of several, the one with the most folders in common with `path`.
        """
        folder = posixpath.dirname(path)
        stem = posixpath.splitext(target)[0]  # app.js may be made of app.ts
        for name in (target, stem):
            whole = self._whole.get(posixpath.normpath(posixpath.join(folder, name)))
            if whole and whole != path:
                return whole
        if target.startswith("."):
            return None
        # The last part of an import may be a name that its module defines.
        for end in (target.strip("/"), stem.strip("/"), posixpath.dirname(target)):
            named = self._by_name.get(posixpath.basename(end), ()) if end else ()
            fitting = [each for each in named if each != path and _ends_in(each, end)]
            if fitting:
                return max(fitting, key=lambda each: len(posixpath.commonpath([each, path])))
        return None


def _ends_in(path: str, end: str) -> bool:
    return any(f"/{name}".endswith(f"/{end}") for name in _names(path))


def _names(path: str) -> list[str]:
    """Return what a link may call `path`: with or without suffix, or its folder."""
    stem = posixpath.splitext(path)[0]
    folder, name = posixpath.split(stem)
    return [path, stem, folder] if name in _MODULES and folder else [path, stem]
