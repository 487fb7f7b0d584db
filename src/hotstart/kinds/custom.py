"""The kind `custom`: models that a function of the program builds."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hotstart.errors import FunctionMissing, InvalidInput
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import plain
from hotstart.types import Progress


def load(material: ModelSource, report: Progress) -> Any:
    """Return the result of the function `material.source`, called with the options.

    Importing its module runs code: the source must come from a program or its configuration,
    never from a request.

    Raises:
        InvalidInput: the source is not `package.module:function`, or the object is not callable.
        FunctionMissing: the module or the function does not exist.
        Exception: any error of the module or the function.
    """
    report("importing", 0.0)
    make = _function(material)
    report("making", 0.5)
    return make(**material.options)


def predict(model: Any, inputs: Any, material: ModelSource) -> Any:
    """Return `model.predict(inputs)`, or `model(inputs)` if it has no `predict`.

    Answers of NumPy and pandas become lists (see `plain`); other objects are returned unchanged.

    Raises:
        InvalidInput: the model has no `predict` and is not callable.
        Exception: any error of the model.
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
        # The module itself is missing; a missing import inside it is raised unchanged.
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
