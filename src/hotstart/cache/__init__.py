"""Open an embedding cache or a byte store by its URL."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

from hotstart.cache.codec import StoredPrecision
from hotstart.cache.tiered import MemoryTier, TieredCache
from hotstart.config import bytes_of
from hotstart.errors import InvalidInput

if TYPE_CHECKING:
    from hotstart.cache.store import ByteStore


class CacheAddress(NamedTuple):
    """A parsed cache URL.

    Attributes:
        scheme: the kind of store; `memory` is private to the process.
        place: the address without its options.
        near: size in bytes of the memory tier.
        precision: precision of stored floats, `float32` or `float16`.
        max_bytes: maximal size of a SQLite file.
        ttl: seconds after which Redis expires a value; None for never.
        namespace: prefix of the Redis keys.
    """

    scheme: str
    place: str
    near: int = 64_000_000
    precision: StoredPrecision = "float32"
    max_bytes: int = 1_000_000_000
    ttl: float | None = None
    namespace: str = "hotstart"

    def __repr__(self) -> str:
        return f"CacheAddress({self.safe!r})"

    @property
    def safe(self) -> str:
        """The address without user and password, for messages."""
        return re.sub(r"//.*@", "//", self.place)

    @classmethod
    def parse(cls, url: str) -> CacheAddress:
        """Parse `url`; options follow a question mark.

        Raises:
            InvalidInput: the scheme or an option is unknown, or a value is invalid.
        """
        place, _, query = url.partition("?")
        scheme = place.partition(":")[0]
        if scheme not in _OPTIONS or ":" not in place:
            known = ", ".join(f"{name}:..." for name in _OPTIONS)
            raise InvalidInput("cache", got=scheme, expected=f"one of {known}")
        options = {
            name: _read(name, value, _OPTIONS[scheme])
            for name, value in parse_qsl(query, keep_blank_values=True)
        }
        rest = place.partition(":")[2]
        if scheme == "memory" and rest:
            options["near"] = _read("near", rest, _OPTIONS[scheme])
        if scheme == "sqlite" and not rest:
            raise InvalidInput("cache", got=url, expected="sqlite:FILE")
        return cls(scheme, place, **options)


class _Kind(NamedTuple):
    """The parser of an option and the description of its values."""

    read: Callable[[str], Any]
    expected: str


def _seconds(text: str) -> float:
    if not 0 < (seconds := float(text)) < 1e10:
        raise ValueError(text)
    return seconds


_NEAR = {"near": _Kind(bytes_of, "a size, as 64MB")}
_FAR = {
    **_NEAR,
    "precision": _Kind(lambda text: {"float32": text, "float16": text}[text], "float32 or float16"),
}
_REDIS = {
    **_FAR,
    "ttl": _Kind(_seconds, "seconds, more than 0"),
    "namespace": _Kind(str, "a text"),
}
_OPTIONS: dict[str, dict[str, _Kind]] = {
    "memory": _NEAR,
    "sqlite": {**_FAR, "max_bytes": _Kind(bytes_of, "a size, as 1GB")},
    "redis": _REDIS,
    "rediss": _REDIS,
    "unix": _REDIS,
}


def _read(name: str, value: str, kinds: dict[str, _Kind]) -> Any:
    kind = kinds.get(name)
    if kind is None:
        raise InvalidInput("cache option", got=name, expected=f"one of {', '.join(kinds)}")
    try:
        return kind.read(value)
    except (ValueError, KeyError):
        raise InvalidInput(f"cache option {name}", got=value, expected=kind.expected) from None


STORES = {
    "sqlite": "hotstart.cache.sqlite:SqliteStore",
    "redis": "hotstart.cache.redis:RedisStore",
    "rediss": "hotstart.cache.redis:RedisStore",
    "unix": "hotstart.cache.redis:RedisStore",
}


def open_cache(url: str) -> TieredCache:
    """Return the cache at `url`: a memory tier, over a shared store if `url` names one.

    Raises:
        InvalidInput: the address is invalid.
        MissingExtra: the store's library is not installed.
    """
    address = CacheAddress.parse(url)
    far = _open(address) if address.scheme in STORES else None
    return TieredCache(MemoryTier(address.near), far, address.precision)


def open_store(url: str) -> ByteStore:
    """Return the byte store at `url` without a memory tier. Errors: see `open_cache`."""
    return _open(CacheAddress.parse(url))


def _open(address: CacheAddress) -> ByteStore:
    if address.scheme not in STORES:
        expected = f"one of {', '.join(f'{name}:...' for name in STORES)}"
        raise InvalidInput("cache", got=address.scheme, expected=expected)
    module, _, name = STORES[address.scheme].partition(":")
    store: ByteStore = getattr(importlib.import_module(module), name)(address)
    return store
