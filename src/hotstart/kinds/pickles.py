"""Pickles: loading one runs whatever code it holds, so it must be the very one that was named."""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
import struct
from typing import Any

from hotstart._lazy import require
from hotstart.errors import ModelDamaged, PickleRefused
from hotstart.kinds.base import Material
from hotstart.kinds.files import read_file

SUFFIXES = (".pkl", ".pickle", ".joblib")

_DAMAGE = (pickle.UnpicklingError, struct.error, EOFError, KeyError, IndexError)


def load_pickle(material: Material) -> Any:
    """Return what the pickle `material.source` holds, of pickle or joblib, compressed or not.

    The bytes are read once, and those whose SHA-256 was compared are those that are loaded. Arrays
    that joblib put into files of their own (`.npy`, a memory map) are not found.

    Raises:
        ModelFileMissing: it is no file.
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
