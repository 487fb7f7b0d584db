"""Cache keys, and vectors as bytes that any process and machine can read.

    "hv" | format 1 byte | type 1 byte | dimension 4 bytes | CRC-32 4 bytes | little-endian floats

The checksum covers the header before it and the floats after it. Damaged, truncated or foreign
bytes do not match this format and are never read as a vector.
"""

from __future__ import annotations

import functools
import hashlib
import json
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGEST_BYTES = 20


class VectorSpace(NamedTuple):
    """Everything except the text that determines a vector. Different spaces never share a key.

    Attributes:
        source: the name of the model.
        revision: revision of a hub repository.
        fingerprint: hash of weights, tokenizer, precision, pooling and normalisation.
        engine: the engine, if its vectors differ from those of other engines.
        role: the name of the prompt, if the model has it.
        prompt: the text before each text.
        dimensions: requested number of dimensions; None for all.
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
def _hasher(space: VectorSpace) -> hashlib.blake2b:
    """Return a hash over `space`; its JSON is self-delimiting, so no text can imitate it."""
    return hashlib.blake2b(json.dumps(space).encode(), digest_size=_DIGEST_BYTES)


StoredPrecision = Literal["float32", "float16"]

_HEAD = struct.Struct("<2sBBI")
_CHECKSUM = struct.Struct("<I")
_BEFORE_FLOATS = _HEAD.size + _CHECKSUM.size
_MAGIC = b"hv"
_FORMAT = 1
_TOO_LARGE = 65520  # float16 rounds larger numbers to infinity


class _Type(NamedTuple):
    """A storage format of floats."""

    number: int
    dtype: str
    size: int


_TYPES: dict[str, _Type] = {"float32": _Type(0, "<f4", 4), "float16": _Type(1, "<f2", 2)}
_BY_NUMBER = {kind.number: kind for kind in _TYPES.values()}


def encode(vector: NDArray[np.float32], precision: StoredPrecision = "float32") -> bytes:
    """Return `vector` (d,) as bytes.

    `float16` takes half the bytes and rounds to 11 significant bits. A vector with a number of
    65520 or more stays float32.
    """
    import numpy as np

    if precision == "float16" and np.any(np.isfinite(vector) & (np.abs(vector) >= _TOO_LARGE)):
        precision = "float32"
    kind = _TYPES[precision]
    floats = vector.astype(kind.dtype, copy=False).tobytes()
    head = _HEAD.pack(_MAGIC, _FORMAT, kind.number, len(vector))
    return head + _CHECKSUM.pack(zlib.crc32(floats, zlib.crc32(head))) + floats


def decode(raw: bytes) -> NDArray[np.float32] | None:
    """Return the vector (d,), float32 and read-only; None if `raw` is invalid."""
    import numpy as np

    if len(raw) < _BEFORE_FLOATS:
        return None
    magic, version, number, dimension = _HEAD.unpack_from(raw)
    kind = _BY_NUMBER.get(number)
    if magic != _MAGIC or version != _FORMAT or kind is None:
        return None
    if len(raw) != _BEFORE_FLOATS + dimension * kind.size:
        return None
    floats = memoryview(raw)[_BEFORE_FLOATS:]
    (checksum,) = _CHECKSUM.unpack_from(raw, _HEAD.size)
    if zlib.crc32(floats, zlib.crc32(raw[: _HEAD.size])) != checksum:
        return None
    vector = np.frombuffer(floats, kind.dtype).astype(np.float32, copy=False)
    vector.flags.writeable = False
    return vector
