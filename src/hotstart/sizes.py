"""Numbers of bytes as people write them: 64MB, 2GB, 512MiB."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(?:([KMGT]?)(i?)B)?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def bytes_of(text: str) -> int:
    """Return the bytes that `text` says: kB, MB, GB, TB by thousands, KiB and so on by 1024.

    Raises:
        ValueError: it is no size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(text)
    number, prefix, binary = match.groups()
    power: int = _POWERS[(prefix or "").upper()]
    return round(float(number) * (1024.0 if binary else 1000.0) ** power)
