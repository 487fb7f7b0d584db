"""The glossary names every module and every public class."""

from __future__ import annotations

import ast
import re

from support.golden import ROOT
from support.source import tree_of

SOURCE = ROOT / "src" / "hotstart"
GLOSSARY = ROOT / "docs" / "glossary.md"


def modules() -> set[str]:
    names = set()
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        if parts[-1] not in {"__main__"}:
            names.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def classes() -> dict[str, list[str]]:
    """Each public class name with the modules that define it."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(SOURCE)))
    return found


def rows() -> list[str]:
    return re.findall(r"^\| `([\w.]+)` \| [^|]+ \| [^|]+ \|$", GLOSSARY.read_text("utf-8"), re.M)


def test_every_module_has_one_row() -> None:
    named = [name for name in rows() if name == "hotstart" or name.startswith("hotstart.")]
    assert sorted(named) == sorted(modules())


def test_every_public_class_has_one_row() -> None:
    named = [name for name in rows() if "." not in name and name[0].isupper()]
    assert sorted(named) == sorted(classes())


def test_no_class_name_has_two_meanings() -> None:
    assert {name: paths for name, paths in classes().items() if len(paths) > 1} == {}
