"""Where vectors are kept. The table holds import strings: naming a store costs nothing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from hotstart.cache.address import CacheAddress
from hotstart.cache.memory import MemoryTier
from hotstart.cache.tiered import VectorCache
from hotstart.errors import InvalidInput

if TYPE_CHECKING:
    from hotstart.cache.store import ByteStore

STORES = {
    "sqlite": "hotstart.cache.sqlite:SqliteStore",
    "redis": "hotstart.cache.redis:RedisStore",
    "rediss": "hotstart.cache.redis:RedisStore",
    "unix": "hotstart.cache.redis:RedisStore",
}


def open_cache(url: str) -> VectorCache:
    """Return the cache at `url`: memory, over a store that processes share if it names one.

    Raises:
        InvalidInput: the address cannot be read.
        MissingExtra: the store's library is not installed.
    """
    address = CacheAddress.parse(url)
    far = _open(address) if address.scheme in STORES else None
    return VectorCache(MemoryTier(address.near), far, address.precision)


def open_store(url: str) -> ByteStore:
    """Return the store at `url` alone, for bytes of any kind. Raises as `open_cache` does."""
    return _open(CacheAddress.parse(url))


def _open(address: CacheAddress) -> ByteStore:
    if address.scheme not in STORES:
        expected = f"one of {', '.join(f'{name}:...' for name in STORES)}"
        raise InvalidInput("cache", got=address.scheme, expected=expected)
    module, _, name = STORES[address.scheme].partition(":")
    store: ByteStore = getattr(importlib.import_module(module), name)(address)
    return store
