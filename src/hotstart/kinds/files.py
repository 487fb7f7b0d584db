"""Model files: find, hash, measure; pickles only by their SHA-256."""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import pickle
import struct
from typing import Any

from hotstart._lazy import require
from hotstart.errors import ModelDamaged, ModelFileMissing, PickleRefused
from hotstart.kinds import ModelSource

_PIECE = 1 << 20


def find_file(material: ModelSource) -> str:
    """Return the path of the file `material.source`; its SHA-256 is compared where one is named.

    Raises:
        ModelFileMissing: the path is not a file.
        ModelDamaged: its SHA-256 is another than the one named.
    """
    path = os.path.expanduser(material.source)
    if not os.path.isfile(path):
        raise ModelFileMissing(material.name, path=path)
    if material.sha256 is not None:
        found = _sha256(path)
        if found != material.sha256.lower():
            reason = f"its SHA-256 is {found}, configuration names {material.sha256}"
            raise ModelDamaged(path, reason=reason)
    return path


def read_file(material: ModelSource) -> bytes:
    """Return what the file `material.source` holds, whatever its SHA-256.

    Raises:
        ModelFileMissing: the path is not a file.
    """
    with open(find_file(material._replace(sha256=None)), "rb") as file:
        return file.read()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


SUFFIXES = (".pkl", ".pickle", ".joblib")

_DAMAGE = (pickle.UnpicklingError, struct.error, EOFError, KeyError, IndexError)


def load_pickle(material: ModelSource) -> Any:
    """Return what the pickle `material.source` holds, of pickle or joblib, compressed or not.

    The bytes are read once, and those whose SHA-256 was compared are those that are loaded. Arrays
    that joblib put into files of their own (`.npy`, a memory map) are not found.

    Raises:
        ModelFileMissing: the path is not a file.
        PickleRefused: no SHA-256 is named, or the file has another. Nothing of it was run.
        ModelDamaged: it has the SHA-256 named, and is no pickle.
        Exception: whatever its own code raises, ModuleNotFoundError for a library not installed.
    """
    content = read_file(material)
    if material.sha256 is None:
        raise PickleRefused(material.source)
    digest = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(digest.encode(), material.sha256.lower().encode()):
        raise PickleRefused(material.source, got=digest, expected=material.sha256)
    joblib = require("joblib", extra="sklearn")
    try:
        return joblib.load(io.BytesIO(content))
    except _DAMAGE as error:
        reason = f"it is no pickle ({type(error).__name__})"
        raise ModelDamaged(material.source, reason=reason) from error


def bytes_on_disk(path: str) -> int:
    """Return the bytes in the file or folder `path`, 0 where there is none.

    Symbolic links to files count as what they lead to, as a Hugging Face cache is made of them; a
    file that is there twice counts once.
    """
    seen: dict[tuple[int, int], int] = {}
    names = [path]
    for folder, _, files in os.walk(path):
        names += [os.path.join(folder, name) for name in files]
    for name in names:
        try:
            status = os.stat(name)
        except OSError:  # a broken link, or removed meanwhile
            continue
        if not os.path.isdir(name):
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
