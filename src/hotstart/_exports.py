"""Public names of a package that are imported when first used (PEP 562).

This file imports nothing, not even `typing`: `import hotstart` costs what it imports.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module `__getattr__` that imports each public name when it is first used.

    Args:
        package: the package that has the names.
        modules: the module of each name, or `module:name` where the name differs there.
    """

    def __getattr__(name: str) -> Any:
        import importlib

        try:
            location = modules[name]
        except KeyError:
            raise AttributeError(f"module {package!r} has no attribute {name!r}") from None
        module, _, other = location.partition(":")
        value = getattr(importlib.import_module(module), other or name)
        setattr(importlib.import_module(package), name, value)
        return value

    return __getattr__
