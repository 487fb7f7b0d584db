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
from array import array
from collections.abc import Sequence
from typing import Literal, NamedTuple

from hotstart.types import little_endian

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


class _Type(NamedTuple):
    """A storage format of floats; `code` is that of the module struct."""

    number: int
    code: str
    size: int


_TYPES: dict[str, _Type] = {"float32": _Type(0, "f", 4), "float16": _Type(1, "e", 2)}
_BY_NUMBER = {kind.number: kind for kind in _TYPES.values()}


def encode(row: bytes, precision: StoredPrecision = "float32") -> bytes:
    """Return `row`, a float32 vector as this machine stores it, as bytes for any machine.

    `float16` takes half the bytes and rounds to 11 significant bits. A vector with a number of
    65520 or more stays float32.
    """
    if precision == "float16":
        try:
            floats = struct.pack(f"<{len(row) // 4}e", *memoryview(row).cast("f"))
        except OverflowError:
            precision = "float32"
    if precision == "float32":
        floats = little_endian(row)
    kind = _TYPES[precision]
    head = _HEAD.pack(_MAGIC, _FORMAT, kind.number, len(row) // 4)
    return head + _CHECKSUM.pack(zlib.crc32(floats, zlib.crc32(head))) + floats


def decode(raw: bytes) -> bytes | None:
    """Return the float32 vector as this machine stores it; None if `raw` is invalid."""
    if len(raw) < _BEFORE_FLOATS:
        return None
    magic, version, number, dimension = _HEAD.unpack_from(raw)
    kind = _BY_NUMBER.get(number)
    if magic != _MAGIC or version != _FORMAT or kind is None:
        return None
    if len(raw) != _BEFORE_FLOATS + dimension * kind.size:
        return None
    floats = raw[_BEFORE_FLOATS:]
    (checksum,) = _CHECKSUM.unpack_from(raw, _HEAD.size)
    if zlib.crc32(floats, zlib.crc32(raw[: _HEAD.size])) != checksum:
        return None
    if kind.code == "f":
        return little_endian(floats)
    return array("f", struct.unpack(f"<{dimension}e", floats)).tobytes()
