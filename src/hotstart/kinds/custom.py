"""Models of a program's own: whatever a function of it returns."""

from __future__ import annotations

import importlib
import re
from typing import Any

from hotstart.errors import InvalidInput
from hotstart.kinds.base import Material
from hotstart.kinds.plain import plain
from hotstart.types import Progress

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", re.ASCII)


def load(material: Material, report: Progress) -> Any:
    """Return what the function `package.module:function` returns, called with the options.

    What the function raises passes through.

    Raises:
        InvalidInput: the source is no import string, or names no function.
    """
    report("import", 0.1)
    if not _FORM.fullmatch(material.source):
        raise InvalidInput("source", got=material.source, expected="package.module:function")
    module, _, name = material.source.partition(":")
    function = getattr(importlib.import_module(module), name, None)
    if not callable(function):
        raise InvalidInput("source", got=material.source, expected=f"a function of {module}")
    report("model", 0.3)
    return function(**material.options)


def predict(model: Any, inputs: Any, material: Material) -> Any:
    """Return what `model.predict(inputs)` returns, else `model(inputs)`, as JSON can say it."""
    ask = getattr(model, "predict", model)
    if not callable(ask):
        expected = "a model with a method predict, or one that can be called"
        raise InvalidInput(material.name, got=type(model).__name__, expected=expected)
    return plain(ask(inputs))
