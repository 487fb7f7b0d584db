"""What models lie in a folder, told from the names of its files; none of them is loaded."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from hotstart.errors import InvalidInput, UnknownVersion
from hotstart.kinds import KINDS
from hotstart.kinds.pickles import SUFFIXES as PICKLES

_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+)*)")
_VERSIONED = re.compile(rf"(.+)-{_VERSION.pattern}", re.DOTALL)
_PEEK = 4096  # bytes at either end of a JSON; Prophet writes its version last
_PROPHETS = re.compile(rb'"__(?:fb)?prophet_version"\s*:')


class Found(NamedTuple):
    """A model file.

    Attributes:
        kind: a name of KINDS.
        path: of the file.
        version: as its name has it, without a leading `v`; None where it has none.
        pickled: whether it is a pickle, which its kind loads only with its SHA-256 named.
    """

    kind: str
    path: str
    version: str | None
    pickled: bool


def discover(folder: str) -> dict[str, tuple[Found, ...]]:
    """Return the models in `folder` by name, each with its versions, the newest last.

    A file is called `<name>.<ending>` or `<name>-<version>.<ending>`, where a version is numbers
    with points between, and perhaps a `v` before: `churn-1.2.0.skops`, `churn-v2.onnx`. A file
    without a version is older than every one with. Endings are those of KINDS; a `.json` counts
    where it is Prophet's. Sub-folders, hidden files and files of other endings are left aside, and
    so is a pickle beside a file of another ending that has its name and version.

    Raises:
        InvalidInput: two files are the same version of the same model.
    """
    if not os.path.isdir(folder):
        return {}
    models: dict[str, list[Found]] = defaultdict(list)
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        stem, ending = os.path.splitext(entry)
        kind = None if entry.startswith(".") else _kind(path, ending.lower())
        if kind is not None:
            name, version = parse_stem(stem)
            models[name].append(Found(kind, path, version, ending.lower() in PICKLES))
    return {name: _ordered(found) for name, found in sorted(models.items())}


def parse_stem(stem: str) -> tuple[str, str | None]:
    """Return name and version of a file called `stem`, its ending taken off. Pure."""
    matched = _VERSIONED.fullmatch(stem)
    return (matched[1], matched[2]) if matched else (stem, None)


def serving(name: str, versions: Sequence[Found], wanted: str | None) -> Found:
    """Return of the model `name` the version `wanted` (`v2` and `2.0` mean one), or the newest.

    Where there is but one, it is that one.

    Raises:
        UnknownVersion: there are several, and none is `wanted`.
    """
    if wanted is None or len(versions) == 1:
        return versions[-1]
    for found in versions:
        if found.version is not None and _order(found.version) == _order(wanted):
            return found
    known = [found.version for found in versions if found.version is not None]
    raise UnknownVersion(name, wanted, known=known)


def _kind(path: str, ending: str) -> str | None:
    for kind, entry in KINDS.items():
        if ending in entry.suffixes and os.path.isfile(path):
            return kind if ending != ".json" or _is_prophets(path) else None
    return None


def _is_prophets(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(_PEEK)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _PEEK))
        return any(_PROPHETS.search(part) for part in (head, file.read(_PEEK)))


def _ordered(found: Sequence[Found]) -> tuple[Found, ...]:
    """By version. A pickle gives way to a file of another ending that is the same version."""
    ordered: dict[tuple[int, ...], Found] = {}
    for each in sorted(found, key=lambda one: one.pickled):
        known = ordered.setdefault(_order(each.version), each)
        if known is not each and known.pickled == each.pickled:
            expected = f"another name or version than {os.path.basename(known.path)}"
            raise InvalidInput("the model file", got=each.path, expected=expected)
    return tuple(ordered[order] for order in sorted(ordered))


def _order(version: str | None) -> tuple[int, ...]:
    """What decides which version is newer: its numbers, zeros at the end left off."""
    if version is None:
        return ()
    matched = _VERSION.fullmatch(version)
    if not matched:
        return (-1,)  # asked for, and of no file
    numbers = [int(number) for number in matched[1].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
