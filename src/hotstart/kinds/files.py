"""The file that a model is made from: found, and the one that was named."""

from __future__ import annotations

import hashlib
import os

from hotstart.errors import ModelDamaged, ModelFileMissing
from hotstart.kinds.base import Material

_PIECE = 1 << 20


def find_file(material: Material) -> str:
    """Return the path of the file `material.source`; its SHA-256 is compared where one is named.

    Raises:
        ModelFileMissing: it is no file.
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


def read_file(material: Material) -> bytes:
    """Return what the file `material.source` holds, whatever its SHA-256.

    Raises:
        ModelFileMissing: it is no file.
    """
    with open(find_file(material._replace(sha256=None)), "rb") as file:
        return file.read()


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
