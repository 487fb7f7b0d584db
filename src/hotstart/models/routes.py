"""Routes of a Router: the modules that the texts of a task go through.

A Router (once Asym) of sentence-transformers has encoders of its own for queries and for documents.
The modules before and after it belong to every route.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from hotstart.errors import UnsupportedModel

TASKS = ("document", "", "query")
"""The tasks of texts, empty for none. The first that a model has an encoder for describes it."""

ROUTERS = ("Router", "Asym")
ROUTER_CONFIGS = ("router_config.json", "config.json")
"""The files that list the modules of a Router, in the order of sentence-transformers."""

_MODALITY = "text"
_LONGEST_KEY = 200  # characters of a key of route_mappings


class TaskRoute(NamedTuple):
    """The modules that the texts of some tasks go through.

    Attributes:
        tasks: the tasks.
        modules: the class and the sub-folder of each module.
    """

    tasks: tuple[str, ...]
    modules: tuple[tuple[str, str], ...]


def read_routes(
    folder: str,
    modules: Sequence[tuple[str, str]],
    read: Callable[[str], Mapping[str, Any]],
    name_class: Callable[[str], str],
) -> list[TaskRoute]:
    """Return the routes of a model, the one of documents first; one of all tasks without a Router.

    Args:
        folder: the model folder, for error messages.
        modules: the class and the sub-folder of each entry of modules.json.
        read: returns the JSON of a file of the model, empty without one.
        name_class: returns the name of a class, of its full name.

    Raises:
        UnsupportedModel: the model has several Routers, or no route for a text.
        LookupError, TypeError, ValueError, AttributeError: the configuration is invalid.
    """
    places = [number for number, (kind, _) in enumerate(modules) if kind in ROUTERS]
    if not places:
        return [TaskRoute(TASKS, tuple(modules))]
    if len(places) > 1:
        got = [kind for kind, _ in modules]
        raise UnsupportedModel(folder, feature="modules", got=got, supported=("one Router",))
    place = places[0]
    home = modules[place][1]
    config = router_config(home, read)
    types, structure = config["types"], config["structure"]
    tasks: dict[str, list[str]] = {}
    for task in TASKS:
        name = _name_of(task, [*structure], config.get("parameters") or {})
        if name is not None:
            tasks.setdefault(name, []).append(task)
    if not tasks:
        supported = ("routes named query and document", "default_route")
        raise UnsupportedModel(folder, feature="routes", got=[*structure], supported=supported)
    return [
        TaskRoute(
            tuple(of_route),
            (
                *modules[:place],
                *((name_class(str(types[each])), inside(home, each)) for each in structure[name]),
                *modules[place + 1 :],
            ),
        )
        for name, of_route in tasks.items()
    ]


def router_config(home: str, read: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the configuration of the Router in the sub-folder `home`; empty without one."""
    found = (read(inside(home, name)) for name in ROUTER_CONFIGS)
    return next((config for config in found if "types" in config), {})


def inside(home: str, name: str) -> str:
    """Return the path of `name` in the sub-folder `home`; either may stand for the other."""
    return "/".join(part for part in (home, name) if part not in ("", "."))


def _name_of(task: str, names: Sequence[str], parameters: Mapping[str, Any]) -> str | None:
    """Return the name of the route of `task`, as sentence-transformers resolves it; None for none.

    Raises:
        ValueError: the name is not one of `names`.
    """
    mappings = _mappings(parameters.get("route_mappings") or {})
    wanted = task or None
    keys = ((wanted, _MODALITY), (wanted, None), (None, _MODALITY), (None, None))
    mapped = [mappings[key] for key in keys if key in mappings]
    mapped += [name for name in (task, _MODALITY) if name in names]
    if not mapped and not task:
        default = parameters.get("default_route")
        if default is None and parameters.get("allow_empty_key", True):
            default = names[0]
        mapped = [] if default is None else [default]
    if not mapped:
        return None
    if mapped[0] not in names:
        raise ValueError(f"route {str(mapped[0])[:100]!r} is not in its structure")
    return str(mapped[0])


def _mappings(written: Mapping[str, Any]) -> dict[Any, Any]:
    """Return route_mappings by task and modality, whose keys are written as Python's tuples."""
    found = {}
    for key, name in written.items():
        if len(key) > _LONGEST_KEY:
            raise ValueError(f"route_mappings has the key {key[:100]!r}...")
        try:
            found[ast.literal_eval(key)] = name
        except (SyntaxError, ValueError):  # sentence-transformers leaves it out too
            continue
    return found
