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
    """Return the path of the file `material.source`; compare its SHA-256 if configured.

    Raises:
        ModelFileMissing: the path is not a file.
        ModelDamaged: its SHA-256 differs from the configured one.
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
    """Return the content of the file `material.source` without comparing its SHA-256.

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
    """Return the object in the pickle `material.source` of pickle or joblib.

    The file is read once, so that the compared bytes are the loaded ones. Separate array files of
    joblib (`.npy`, memory maps) are not supported.

    Raises:
        ModelFileMissing: the path is not a file.
        PickleRefused: no SHA-256 is configured, or it differs. No code of the file was run.
        ModelDamaged: the file is not a pickle.
        Exception: any error of its code, for example ModuleNotFoundError.
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
    """Return the bytes of the file or folder `path`; 0 if it does not exist.

    Symbolic links to files count as their targets, for Hugging Face caches; a file with several
    links counts once.
    """
    seen: dict[tuple[int, int], int] = {}
    names = [path]
    for folder, _, files in os.walk(path):
        names += [os.path.join(folder, name) for name in files]
    for name in names:
        try:
            status = os.stat(name)
        except OSError:  # a broken link or a removed file
            continue
        if not os.path.isdir(name):
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
