"""The name of a vector: everything that decides its value, and the text it is of."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

_DIGEST_BYTES = 20


class Space(NamedTuple):
    """What decides a vector beside its text. Vectors of different spaces never share a key.

    Attributes:
        source: the model as it was named.
        revision: of a hub repository.
        fingerprint: of the model: its weights, tokenizer, precision, pooling and normalisation.
        engine: what computes it, where engines differ in the vectors they give.
        role: the name of the prompt, where the model has a text for it.
        prompt: the text put before each text.
        dimensions: asked of the model; None for those it has.
    """

    source: str
    revision: str | None
    fingerprint: str
    engine: str
    role: str
    prompt: str
    dimensions: int | None

    def keys(self, texts: Sequence[str]) -> list[bytes]:
        """Return the key of each of `texts`: 20 bytes, BLAKE2b over this space and the text."""
        keys = []
        for text in texts:
            hashed = _hasher(self).copy()
            hashed.update(text.encode())
            keys.append(hashed.digest())
        return keys


@functools.lru_cache(maxsize=256)
def _hasher(space: Space) -> hashlib.blake2b:
    """A hash that has seen `space`; JSON ends where the text begins, whatever either says."""
    return hashlib.blake2b(json.dumps(space).encode(), digest_size=_DIGEST_BYTES)
