"""Rules of the import graph: imports only point down, and one file imports each library."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.golden import ROOT
from support.source import tree_of

SOURCE = ROOT / "src" / "hotstart"
FILES = sorted(SOURCE.rglob("*.py"))

LAYERS: dict[str, int] = {
    "cli": 9,
    "integrations": 9,
    "server": 8,
    "registry": 7,
    "search": 6,
    "profiling": 6,
    "embedder": 5,
    "reranker": 5,
    "cached_encoder": 4,
    "pool": 3,
    "preparation": 2,
    "models": 1,
    "engines": 1,
    "kinds": 1,
    "cache": 1,
    "": 0,  # every other file of the package: the foundation
}
PARTS = {"models", "engines", "kinds", "cache"}
EVERYWHERE = {"numpy", "typing_extensions"}
IN_SERVER = {"fastapi", "starlette", "pydantic", "orjson", "uvicorn"}
FACE = {"__init__", "__main__"}  # files that only export names


def layer_of(module: str) -> str:
    """Return the layer of a module: `models` for `hotstart.models.hub`."""
    top = module.split(".")[1] if "." in module else ""
    return top if top in LAYERS else ""


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield every imported module and whether it is imported at the top of the file."""
    tree = tree_of(path)
    top = {id(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))}
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            top -= {id(node) for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inner = SOURCE.parent / Path(*node.module.split("."), f"{alias.name}.py")
                yield (
                    (f"{node.module}.{alias.name}" if inner.exists() else node.module),
                    (id(node) in top),
                )


def required(path: Path) -> set[str]:
    """Return the libraries that `_lazy.require` imports."""
    return {
        name.partition(".")[0]
        for name in re.findall(r'require\(\s*"([\w.]+)"', path.read_text(encoding="utf-8"))
    }


def is_third_party(module: str) -> bool:
    import sys

    top = module.partition(".")[0]
    return top != "hotstart" and top not in sys.stdlib_module_names


def graph() -> dict[str, set[str]]:
    modules = {module_of(path): path for path in FILES}
    return {
        module: {name for name, _ in imports(path) if name in modules and name != module}
        for module, path in modules.items()
    }


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_only_point_down(path: Path) -> None:
    if path.parent == SOURCE and path.stem in FACE:
        return
    here = layer_of(module_of(path))
    for name, _ in imports(path):
        if name.startswith("hotstart."):
            there = layer_of(name)
            assert there == here or LAYERS[there] < LAYERS[here], f"{here} imports {name}"
            assert not {here, there} <= PARTS or here == there, f"{here} knows {name}"


def test_imports_have_no_cycle() -> None:
    arrows = graph()
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in arrows[module] - {"hotstart"}:
                visit(target, (*trail, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


def test_a_library_is_imported_by_one_file() -> None:
    importers_of: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        names = {name.partition(".")[0] for name, _ in imports(path) if is_third_party(name)}
        here = layer_of(module_of(path))
        allowed_everywhere = EVERYWHERE | (IN_SERVER if here == "server" else set())
        for name in (names | required(path)) - allowed_everywhere:
            importers_of[name].add(module_of(path))
    assert {name: files for name, files in importers_of.items() if len(files) > 1} == {}
    assert {
        "onnx",
        "onnxruntime",
        "tokenizers",
        "tantivy",
        "huggingface_hub",
    } <= importers_of.keys()


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_libraries_are_not_imported_at_the_top(path: Path) -> None:
    """Engines, preparation and server are themselves imported only when they are needed."""
    typing_only = _type_checking_lines(path)
    tree = tree_of(path)
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node.lineno not in typing_only:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
            for name in names:
                here = layer_of(module_of(path))
                allowed = here == "server" or (
                    name == "numpy" and here in {"engines", "preparation"}
                )
                assert allowed or not is_third_party(str(name)), f"{path} imports {name}"


def _type_checking_lines(path: Path) -> set[int]:
    return {
        inner.lineno
        for node in tree_of(path).body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in node.body
    }


def test_one_file_reads_the_environment_and_two_use_the_network() -> None:
    text = {module_of(path): path.read_text(encoding="utf-8") for path in FILES}
    readers = {m for m, t in text.items() if re.search(r"os\.(environ|getenv)", t)}
    assert readers == {"hotstart.config"}
    clients = r"\b(urllib\.request|httpx|import requests|import socket)\b"
    network = {m for m, t in text.items() if re.search(clients, t)}
    assert network == {"hotstart.engines.remote.client", "hotstart.server.run"}
    assert {m for m, t in text.items() if 'require("huggingface_hub"' in t} == {
        "hotstart.models.hub"
    }


SMALL = 60  # lines of code without docstrings and comments


def test_no_small_module_has_a_single_importer() -> None:
    """Commands, engines, kinds and integrations are imported by name and have no importer."""
    importers: dict[str, set[str]] = defaultdict(set)
    for module, targets in graph().items():
        for target in targets:
            importers[target].add(module)
    small = {
        module_of(path)
        for path in FILES
        if path.stem not in FACE
        and len(importers[module_of(path)]) == 1
        and code_lines(path) < SMALL
    }
    assert small == set()


def code_lines(path: Path) -> int:
    """Count the lines of `path` that are neither blank, comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    documented = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in documented
        for number, line in enumerate(text.splitlines(), 1)
    )
