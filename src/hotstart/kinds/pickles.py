"""Pickles, which run code when they are loaded: only the very file that configuration names.

What is compared is what is loaded: the bytes are read once.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import pickle
from typing import Any

from hotstart._lazy import require
from hotstart.errors import ModelDamaged, PickleRefused
from hotstart.kinds.base import Material
from hotstart.kinds.files import read_file

SUFFIXES = (".pkl", ".pickle", ".joblib")


def load_pickle(material: Material) -> Any:
    """Return the object in the pickle or joblib file `material.source`.

    Arrays that joblib kept in files beside are not found: save them into one.

    Raises:
        PickleRefused: configuration names no SHA-256, or not that of this file.
        ModelDamaged: it is the file that was named, and cannot be loaded.
    """
    path, expected = material.source, material.sha256
    if expected is None:
        raise PickleRefused(path)
    content = read_file(path)
    found = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(found, expected.lower()):
        raise PickleRefused(path, got=found, expected=expected)
    file = io.BytesIO(content)
    try:
        if path.endswith(".joblib"):
            return require("joblib", extra="sklearn").load(file)
        return pickle.load(file)  # noqa: S301 - the file that the configuration names by its hash
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError) as error:
        raise ModelDamaged(path, reason=f"{type(error).__name__}: {error}") from error
