"""Conventions of the code that a machine can check; docs/design.md gives the reasons."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.golden import ROOT
from support.source import tree_of

SOURCE = ROOT / "src" / "hotstart"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: tree_of(path) for path in FILES}
VAGUE = {"utils", "helpers", "common", "manager", "misc", "base"}
LONGEST_FUNCTION = 60
CLASSES = {
    node.name: node
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
}

# Coroutines without a blocking method of the same options, and the reason.
ONLY_ASYNC = {
    ("Embedder", "await_prefetch"): "threads call `encode`, which joins the running prefetch",
    ("ModelRegistry", "aembed"): "threads call `get_model(name).embed`",
    ("ModelRegistry", "arank"): "threads call `get_model(name).rank`",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def body_lines(function: Function) -> int:
    """Count the lines of the body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def splats(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of calls that unpack a tuple, a list or a slice written in place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Starred):
                    value = argument.value
                    sliced = isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Slice)
                    if sliced or isinstance(value, (ast.Tuple, ast.List)):
                        yield argument.lineno


def test_splats_are_found() -> None:
    assert list(splats(ast.parse("f(*(a, b))\nf(*xs[1:])\nf(*xs)\nf(*[x for x in xs])"))) == [1, 2]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_calls_unpack_no_literal_and_no_slice(path: Path) -> None:
    assert list(splats(TREES[path])) == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_functions_have_at_most_60_lines(path: Path) -> None:
    long = {each.name for each in functions(TREES[path]) if body_lines(each) > LONGEST_FUNCTION}
    assert long == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_modules_are_named_after_a_concept(path: Path) -> None:
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_docstrings_start_with_the_verb_or_the_noun(path: Path) -> None:
    documented = [
        node
        for node in ast.walk(TREES[path])
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    first_lines = [(ast.get_docstring(node) or "").partition("\n")[0] for node in documented]
    assert [line for line in first_lines if re.match(r"(Have|Let|The same)\b", line)] == []


@pytest.mark.parametrize("cls", ["Embedder", "LoadableModel", "ModelRegistry", "Reranker"])
def test_a_coroutine_has_the_options_of_its_blocking_method(cls: str) -> None:
    methods = {each.name: each for each in CLASSES[cls].body if isinstance(each, Function)}
    coroutines = [each for each in methods.values() if isinstance(each, ast.AsyncFunctionDef)]
    assert coroutines
    for coroutine in coroutines:
        name = coroutine.name
        if not name.startswith("_") and (cls, name) not in ONLY_ASYNC:
            assert name.startswith("a"), f"{cls}.{name} must start with a"
            blocking = f"wait_{name[6:]}" if name.startswith("await_") else name[1:]
            assert options(coroutine) == options(methods[blocking]), f"{cls}.{name}"


def options(method: Function) -> dict[str, str]:
    """Return the annotation of each parameter; `**options: Unpack[T]` counts as the keys of T."""
    arguments = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
    found = {each.arg: annotation(each) for each in arguments if each.arg != "self"}
    unpacked = method.args.kwarg
    if unpacked is not None:
        found |= keys(annotation(unpacked).removeprefix("Unpack[").removesuffix("]"))
    return found


def keys(typed_dict: str) -> dict[str, str]:
    """Return the annotations of a TypedDict, inherited ones included."""
    if typed_dict == "TypedDict":
        return {}
    found: dict[str, str] = {}
    for base in CLASSES[typed_dict].bases:
        found |= keys(ast.unparse(base))
    for each in CLASSES[typed_dict].body:
        if isinstance(each, ast.AnnAssign):
            found[ast.unparse(each.target)] = ast.unparse(each.annotation)
    return found


def annotation(argument: ast.arg) -> str:
    assert argument.annotation is not None, f"{argument.arg} has no annotation"
    return ast.unparse(argument.annotation)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_children_are_started_by_python_command(path: Path) -> None:
    """It keeps the current folder off their path; a `python -m` or `-c` would not."""
    uses = [
        node.lineno
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.Attribute) and node.attr == "executable"
    ]
    assert not uses or path.name == "system.py"
