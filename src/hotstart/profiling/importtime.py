"""What `-X importtime` wrote: whose import took how long, and between which marks."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from typing import NamedTuple

STANDARD_LIBRARY = "standard library"
_LINE = re.compile(r"import time: +(\d+) \| +\d+ \| ( *)([\w.]+)$")
_MARK = "hotstart mark "


class _Module(NamedTuple):
    package: str
    seconds: float
    within: list[_Module]


def import_times(log: str) -> dict[str, dict[str, float]]:
    """Return seconds by mark and package; what came before the first mark is under `spawn`.

    A module counts for the outermost third-party package that had it imported: what NumPy needs of
    the standard library is NumPy's. What hotstart itself imports of the standard library, and the
    interpreter, is `standard library`.
    """
    times: dict[str, dict[str, float]] = {"spawn": {}}
    mark = "spawn"
    open_levels: dict[int, list[_Module]] = defaultdict(list)
    for line in log.splitlines():
        if line.startswith(_MARK):
            times[mark] = _by_package(open_levels)
            mark = line.removeprefix(_MARK)
            times.setdefault(mark, {})
        elif match := _LINE.match(line):
            level = len(match[2]) // 2  # children are printed before their parent, further in
            inner = open_levels.pop(level + 1, [])
            module = _Module(package_of(match[3]), int(match[1]) / 1e6, inner)
            open_levels[level].append(module)
    times[mark] = _by_package(open_levels)
    return times


def package_of(module: str) -> str:
    """Return the package of `module`, one name for all of the standard library."""
    top = module.partition(".")[0]
    return STANDARD_LIBRARY if top in sys.stdlib_module_names else top


def _by_package(levels: dict[int, list[_Module]]) -> dict[str, float]:
    """Seconds of all that was imported since the last mark; `levels` is left empty."""
    times: dict[str, float] = defaultdict(float)

    def add(module: _Module, cause: str | None) -> None:
        own = {STANDARD_LIBRARY, "hotstart"}
        cause = cause or (None if module.package in own else module.package)
        times[cause or module.package] += module.seconds
        for inner in module.within:
            add(inner, cause)

    for modules in levels.values():
        for module in modules:
            add(module, None)
    levels.clear()
    return dict(times)
