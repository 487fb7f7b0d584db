"""Model files: find, hash and measure files; load pickles only by their SHA-256."""

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

_BLOCK = 1 << 20


def find_file(material: ModelSource) -> str:
    """Return the path of the file `material.source`; check its SHA-256 if `material` has one.

    Raises:
        ModelFileMissing: the source is not a file.
        ModelDamaged: the SHA-256 differs.
    """
    path = os.path.expanduser(material.source)
    if not os.path.isfile(path):
        raise ModelFileMissing(material.name, path=path)
    if material.sha256 is not None:
        digest = _sha256(path)
        if digest != material.sha256.lower():
            reason = f"its SHA-256 must be {material.sha256} as configured, got {digest}"
            raise ModelDamaged(path, reason=reason)
    return path


def read_file(material: ModelSource) -> bytes:
    """Return the content of the file `material.source` without checking its SHA-256.

    Raises:
        ModelFileMissing: the source is not a file.
    """
    with open(find_file(material._replace(sha256=None)), "rb") as file:
        return file.read()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


SUFFIXES = (".pkl", ".pickle", ".joblib")

_DAMAGE = (pickle.UnpicklingError, struct.error, EOFError, KeyError, IndexError)


def load_pickle(material: ModelSource) -> Any:
    """Load the file `material.source` of pickle or joblib, compressed or not.

    The file is read once, so the loaded bytes are the bytes with the checked SHA-256. Arrays that
    joblib stored in separate files (`.npy`, a memory map) are not supported.

    Raises:
        ModelFileMissing: the source is not a file.
        PickleRefused: no SHA-256 is given, or it differs. No code of the file was run.
        ModelDamaged: the SHA-256 matches, but the file is not a pickle.
        Exception: any error of the pickle's code, such as ModuleNotFoundError.
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
        reason = f"it is not a pickle ({type(error).__name__})"
        raise ModelDamaged(material.source, reason=reason) from error


def bytes_on_disk(path: str) -> int:
    """Return the size of the file or folder `path`, or 0 if it does not exist.

    A symbolic link counts as its target, because a Hugging Face cache consists of links. A file
    with several links counts once.
    """
    sizes: dict[tuple[int, int], int] = {}
    names = [path]
    for folder, _, files in os.walk(path):
        names += [os.path.join(folder, name) for name in files]
    for name in names:
        try:
            status = os.stat(name)
        except OSError:  # a broken link, or a file that was just removed
            continue
        if not os.path.isdir(name):
            sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())
