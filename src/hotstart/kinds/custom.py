"""The kind `custom`: models returned by a function of the program."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from hotstart.errors import FunctionMissing, InvalidInput
from hotstart.kinds import ModelSource
from hotstart.kinds.conversion import plain
from hotstart.types import Progress


def load(material: ModelSource, report: Progress) -> Any:
    """Return the result of the function `material.source`, called with the options as keywords.

    Importing the module runs code. The source must come from a program or its configuration, never
    from a request.

    Raises:
        InvalidInput: the source is not `package.module:function`, or does not name a function.
        FunctionMissing: the module, or the function in it, does not exist.
        Exception: any error of the module or the function.
    """
    report("importing", 0.0)
    function = _function(material)
    report("making", 0.5)
    return function(**material.options)


def predict(model: Any, inputs: Any, material: ModelSource) -> Any:
    """Return `model.predict(inputs)`, or `model(inputs)` if the model has no `predict`.

    Outputs of NumPy and pandas become lists (see `plain`); other objects are unchanged.

    Raises:
        InvalidInput: the model has no `predict` and is not callable.
        Exception: any error of the model.
    """
    function = getattr(model, "predict", model)
    if not callable(function):
        expected = "a callable, or an object with a predict method"
        raise InvalidInput(f"model {material.name!r}", got=type(model).__name__, expected=expected)
    return plain(function(inputs))


def _function(material: ModelSource) -> Callable[..., Any]:
    source = material.source
    module_name, colon, name = source.partition(":")
    is_module = all(map(str.isidentifier, module_name.split(".")))
    if not (colon and name.isidentifier() and is_module):
        raise InvalidInput("source", got=source, expected="package.module:function")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Convert the error only if the named module is missing, not one of its own imports.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        missing = f"module {error.name}"
        raise FunctionMissing(material.name, source=source, missing=missing) from error
    if not hasattr(module, name):
        missing = f"{name} in module {module_name}"
        raise FunctionMissing(material.name, source=source, missing=missing)
    function: Callable[..., Any] = getattr(module, name)
    if not callable(function):
        raise InvalidInput(source, got=type(function).__name__, expected="a function")
    return function
