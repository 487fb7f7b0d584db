"""The kind `custom`: models that a function of the program makes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hotstart.errors import FunctionMissing, InvalidInput
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import plain
from hotstart.types import Progress


def load(material: ModelSource, report: Progress) -> Any:
    """Return what the function `material.source` returns, called with the options by keyword.

    Importing its module runs code: the source must come from a program or its configuration,
    never from a request.

    Raises:
        InvalidInput: the source is not `package.module:function`, or what it names is no function.
        FunctionMissing: there is no such module, or nothing of that name in it.
        Exception: whatever its module or the function itself raises.
    """
    report("importing", 0.0)
    make = _function(material)
    report("making", 0.5)
    return make(**material.options)


def predict(model: Any, inputs: Any, material: ModelSource) -> Any:
    """Return `model.predict(inputs)`, or `model(inputs)` where it has no `predict`.

    NumPy's and pandas' answers become lists (see `plain`); other objects stay as they are.

    Raises:
        InvalidInput: it has no `predict` and cannot be called.
        Exception: whatever the model raises.
    """
    ask = getattr(model, "predict", model)
    if not callable(ask):
        expected = "an object with predict, or a callable"
        raise InvalidInput(f"model {material.name!r}", got=type(model).__name__, expected=expected)
    return plain(ask(inputs))


def _function(material: ModelSource) -> Callable[..., Any]:
    source = material.source
    module_name, colon, name = source.partition(":")
    if not (colon and name.isidentifier() and all(map(str.isidentifier, module_name.split(".")))):
        raise InvalidInput("source", got=source, expected="package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # One of its own path is not there; any other is a fault within it, and its own to tell.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        missing = f"module {error.name}"
        raise FunctionMissing(material.name, source=source, missing=missing) from error
    if not hasattr(module, name):
        missing = f"{name} in module {module_name}"
        raise FunctionMissing(material.name, source=source, missing=missing)
    found: Callable[..., Any] = getattr(module, name)
    if not callable(found):
        raise InvalidInput(source, got=type(found).__name__, expected="a function")
    return found
