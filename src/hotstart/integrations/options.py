"""What of an embedder's options may be written down, and what may not come from there.

A framework writes its components into files, databases and payloads: neither a secret nor a
permission belongs there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from hotstart.errors import InvalidInput

# Not `cache`: its address may hold a password, and where vectors are kept is the machine's matter.
WRITTEN = (
    *("revision", "strategy", "engine", "precision", "device", "truncate_dim"),
    *("allow_download", "load_timeout", "keep_alive"),
)


def public_name(model: str) -> str:
    """Return `model` as it is written down: an address is without user and password."""
    return re.sub(r"//[^/@]*@", "//", model)


def written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of `options` is written down, as plain values; None is left out."""
    return {
        name: value.value if isinstance(value, Enum) else value
        for name in WRITTEN
        if (value := options.get(name)) is not None
    }


def check_written(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput where `options`, read from somewhere, hold what code alone may give."""
    if "trust_remote_code" in options:
        raise InvalidInput("trust_remote_code", got="written down", expected="it in code alone")
