"""Routes of a Router: the modules that the texts of a task go through.

A Router (once Asym) of sentence-transformers has encoders of its own for queries and for documents.
The modules before and after it belong to every route.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hotstart.errors import ModelDamaged, UnsupportedModel, described
from hotstart.models.configuration import (
    RAW_ERRORS,
    check_inner,
    class_name,
    inside,
    modules_of,
    read_json,
)
from hotstart.models.modules import ROUTERS

TASKS = ("document", "", "query")
"""The tasks of texts, empty for none. The first that a model has an encoder for describes it."""

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


def has_router(folder: str) -> bool:
    """Return whether a text's task decides its encoder."""
    return any(kind in ROUTERS for kind, _ in modules_of(folder))


def reads_task(folder: str) -> bool:
    """Return whether sentence-transformers reads the prompt or the task of a text on its own."""
    return any(
        kind in ROUTERS
        or (
            kind == "Pooling"
            and read_json(folder, f"{path}/config.json").get("include_prompt") is False
        )
        for kind, path in modules_of(folder)
    )


def routes_of(folder: str) -> list[TaskRoute]:
    """Return the routes of a model, the one of documents first; one of all tasks without a Router.

    Raises:
        ModelDamaged: the configuration of the Router is invalid.
        UnsupportedModel: the model has several Routers, or no route for a text.
    """
    modules = modules_of(folder)
    try:
        routes = _routes(folder, modules)
    except RAW_ERRORS as error:
        reason = f"its Router has an invalid configuration ({described(error)})"
        raise ModelDamaged(folder, reason=reason) from error
    for route in routes:
        for _, inner in route.modules:
            check_inner(folder, inner)
    return routes


def _routes(folder: str, modules: Sequence[tuple[str, str]]) -> list[TaskRoute]:
    places = [number for number, (kind, _) in enumerate(modules) if kind in ROUTERS]
    if not places:
        return [TaskRoute(TASKS, tuple(modules))]
    if len(places) > 1:
        got = [kind for kind, _ in modules]
        raise UnsupportedModel(folder, feature="modules", got=got, supported=("one Router",))
    place = places[0]
    home = modules[place][1]
    config = router_config(folder, home)
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
                *((class_name(str(types[each])), inside(home, each)) for each in structure[name]),
                *modules[place + 1 :],
            ),
        )
        for name, of_route in tasks.items()
    ]


def router_config(folder: str, home: str) -> Mapping[str, Any]:
    """Return the configuration of the Router in the sub-folder `home`; empty without one."""
    found = (read_json(folder, inside(home, name)) for name in ROUTER_CONFIGS)
    return next((config for config in found if "types" in config), {})


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
