"""A byte store in Redis: one round trip for any number of keys."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hotstart._lazy import require
from hotstart.cache import CacheAddress
from hotstart.cache.store import FailureLog, StoreInfo
from hotstart.concurrency import CircuitBreaker
from hotstart.errors import InvalidInput

T = TypeVar("T")

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_HEALTH_SECONDS = 30  # idle for longer, a connection is looked at before it is used

# Gives the places of the keys granted. A key without a time to live is no lease of ours.
_CLAIM = """
local granted = {}
for place, key in ipairs(KEYS) do
    if redis.call('PTTL', key) < 0 then
        redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
        granted[#granted + 1] = place
    end
end
return granted
"""

# A lease is ended by who has it; whoever waits for one of them is told.
_RELEASE = """
for _, key in ipairs(KEYS) do
    if redis.call('TYPE', key).ok == 'string' and redis.call('GET', key) == ARGV[1] then
        redis.call('DEL', key)
    end
    redis.call('PUBLISH', key, '')
end
"""


class RedisStore:
    """A byte store in Redis; it connects at the first call.

    A Redis that is down or restarts costs one attempt a cool-down. Meanwhile, and where it is full,
    nothing is found or kept; `errors` counts it, and the log tells once that it went and came back.

    Raises:
        InvalidInput: the address is none that Redis has.
    """

    def __init__(self, address: CacheAddress) -> None:
        self._redis = require("redis", extra="redis")
        self._client = self._connectable(address)
        self._values = f"{address.namespace}:v:".encode()
        self._leases = f"{address.namespace}:l:".encode()
        self._milliseconds = None if address.ttl is None else max(1, round(1e3 * address.ttl))
        self._nonce = os.urandom(8).hex()
        self._faults = FailureLog(address.safe)
        self._circuit = CircuitBreaker(threshold=1, cooldown=0.25, longest=5.0)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is there under each of `keys`; a key of another type has nothing."""
        if not keys:
            return {}
        names = [self._values + key for key in keys]
        nothing: list[bytes | None] = [None] * len(names)
        found = self._try("read", lambda: self._client.mget(names), nothing)
        return {key: raw for key, raw in zip(keys, found, strict=True) if raw is not None}

    def set_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep `entries`, as long as their time to live and the memory of Redis allow."""

        def write() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for key, raw in entries.items():
                pipeline.set(self._values + key, raw, px=self._milliseconds)
            refused = [said for said in pipeline.execute(False) if isinstance(said, Exception)]
            if refused:
                self._faults.add(len(refused) - 1)
                raise refused[0]

        if entries:
            self._try("write", write, None)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Remove what is there under each of `keys`."""
        if keys:
            names = [self._values + key for key in keys]
            self._try("write", lambda: self._client.delete(*names), 0)

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the keys that begin with `prefix`."""
        begins = self._values + prefix
        pattern = re.sub(rb"([*?\[\]\\^-])", rb"\\\1", begins) + b"*"

        def scan() -> list[bytes]:
            return list(self._client.scan_iter(match=pattern, count=1000))

        nothing: list[bytes] = []
        for name in self._try("read", scan, nothing):
            yield name[len(self._values) :]

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Return those of `keys` that are now leased to this store object."""
        names = [self._leases + key for key in keys]
        terms = (self._owner(), max(1, round(1e3 * seconds)))

        def ask() -> set[bytes]:
            granted = self._client.eval(_CLAIM, len(names), *names, *terms)
            return {keys[place - 1] for place in granted}

        return self._try("write", ask, {*keys}) if keys else set()

    def release(self, keys: Collection[bytes]) -> None:
        """End this store object's leases on `keys`, and tell those who wait."""
        names = [self._leases + key for key in keys]
        if names:
            owner = self._owner()
            self._try("write", lambda: self._client.eval(_RELEASE, len(names), *names, owner), None)

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Return when one of `keys` is released, or its lease ends, at most after `seconds`."""
        names = [self._leases + key for key in keys]

        def listen() -> None:
            with self._client.pubsub(ignore_subscribe_messages=True) as hearing:
                hearing.subscribe(*names)
                left = self._shortest_lease(names)  # a second look, now that nothing is missed
                deadline = time.monotonic() + min(seconds, left)
                while (left := deadline - time.monotonic()) > 0:
                    if hearing.get_message(timeout=left) is not None:
                        return

        if names:
            self._try("read", listen, None)

    def info(self) -> StoreInfo:
        """Return the errors; what is kept, Redis itself tells, and shares with others."""
        return StoreInfo(0, 0, 0, self._faults.count)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _connectable(self, address: CacheAddress) -> Any:
        # A connection that was closed meanwhile is made anew at once; who is silent is asked once.
        once = require("redis.retry").Retry(
            require("redis.backoff").NoBackoff(), 1, (self._redis.ConnectionError,)
        )
        try:
            return self._redis.Redis.from_url(
                address.place,
                socket_connect_timeout=_CONNECT_SECONDS,
                socket_timeout=_ANSWER_SECONDS,
                health_check_interval=_HEALTH_SECONDS,
                retry=once,
            )
        except ValueError as error:
            expected = f"{address.scheme}://HOST:PORT/0 ({error})"
            raise InvalidInput("cache", got=address.safe, expected=expected) from None

    def _owner(self) -> str:
        """Return the owner of this process's leases; a forked child has its own."""
        return f"{self._nonce}-{os.getpid()}"

    def _shortest_lease(self, names: Sequence[bytes]) -> float:
        """Seconds until the first of these leases ends, 0 where one has ended."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.pttl(name)
        return float(max(0.0, min(pipeline.execute()) / 1e3))

    def _try(self, doing: str, call: Callable[[], T], otherwise: T) -> T:
        """Return what `call` returns; `otherwise` where Redis fails, or failed a moment ago."""
        if not self._circuit.allows():
            self._faults.add()
            return otherwise
        try:
            done = call()
        except (self._redis.RedisError, OSError) as error:
            self._faults.begin(doing, error)
            if isinstance(error, self._redis.ResponseError):
                self._circuit.succeeded()  # it answers, if only to refuse: full, or read-only
            else:
                self._circuit.failed()
            return otherwise
        self._circuit.succeeded()
        self._faults.end(doing)
        return done
