"""The programs of the benchmarks, strings that mypy does not read, use names that exist."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from hotstart import Embedder, ModelRegistry
from support.golden import ROOT

FILES = sorted((ROOT / "benchmarks").glob("*.py"))
OBJECTS = {"registry": ModelRegistry, "model": Embedder}


def strings(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_from_hotstart_resolve(path: Path) -> None:
    for text in strings(path):
        for module, names in re.findall(r"^from (hotstart[\w.]*) import ([\w, ]+)$", text, re.M):
            for name in names.split(", "):
                assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_methods_of_hotstart_objects_exist(path: Path) -> None:
    for text in strings(path):
        for name, method in re.findall(r"\b(model|registry)\.(\w+)\(", text):
            foreign = {"embed_documents"}  # of LangChain
            assert method in foreign or hasattr(OBJECTS[name], method), f"{name}.{method}"
