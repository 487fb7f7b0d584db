"""A byte store in Redis: one round trip for any number of keys."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from hotstart._lazy import require
from hotstart.cache import CacheAddress
from hotstart.cache.store import LEASE, FailureLog, StoreInfo
from hotstart.concurrency import CircuitBreaker
from hotstart.errors import InvalidInput

T = TypeVar("T")

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_HEALTH_SECONDS = 30  # seconds of idleness after which a connection is checked before use

# Returns the indexes of the granted keys. A key without a time to live, or with a longer one than
# any lease, is not a lease. The owner of a lease gets it again.
_CLAIM = """
local granted = {}
for place, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    local owned = redis.call('TYPE', key).ok == 'string' and redis.call('GET', key) == ARGV[1]
    if left < 0 or left > tonumber(ARGV[3]) or owned then
        redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
        granted[#granted + 1] = place
    end
end
return granted
"""

# Only the owner ends a lease; the waiting processes are notified.
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

    While Redis is down, one call per cool-down tries it; the others find and store nothing, as when
    it is full. `errors` counts the failures; the log names the first failure and the recovery.

    Raises:
        InvalidInput: the address is not a Redis URL.
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
        """Return the values of `keys` by key; keys of another Redis type are absent."""
        if not keys:
            return {}
        names = [self._values + key for key in keys]
        nothing: list[bytes | None] = [None] * len(names)
        values = self._try("read", lambda: self._client.mget(names), nothing)
        return {key: raw for key, raw in zip(keys, values, strict=True) if raw is not None}

    def set_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries` for their time to live."""

        def write() -> None:
            pipeline = self._client.pipeline(transaction=False)
            for key, raw in entries.items():
                pipeline.set(self._values + key, raw, px=self._milliseconds)
            refused = [reply for reply in pipeline.execute(False) if isinstance(reply, Exception)]
            if refused:
                self._faults.add(len(refused) - 1)
                raise refused[0]

        if entries:
            self._try("write", write, None)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Delete `keys`."""
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
        milliseconds = max(1, round(1e3 * seconds))
        terms = (self._owner(), milliseconds, max(milliseconds, round(1e3 * LEASE)))

        def claim_names() -> set[bytes]:
            granted = self._client.eval(_CLAIM, len(names), *names, *terms)
            return {keys[place - 1] for place in granted}

        return self._try("claim", claim_names, {*keys}) if keys else set()

    def release(self, keys: Collection[bytes]) -> None:
        """End this store object's leases on `keys` and notify waiting processes."""
        names = [self._leases + key for key in keys]
        if names:
            owner = self._owner()
            self._try(
                "release", lambda: self._client.eval(_RELEASE, len(names), *names, owner), None
            )

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Wait until one of `keys` is released or its lease expires, at most `seconds`."""
        names = [self._leases + key for key in keys]

        def listen() -> None:
            with self._client.pubsub(ignore_subscribe_messages=True) as hearing:
                hearing.subscribe(*names)
                # Check after subscribing, so that no release is missed.
                left = self._shortest_lease(names)
                deadline = time.monotonic() + min(seconds, left)
                while (left := deadline - time.monotonic()) > 0:
                    if hearing.get_message(timeout=left) is not None:
                        return

        if names:
            self._try("read", listen, None)

    def info(self) -> StoreInfo:
        """Return the errors; Redis itself reports its contents, which others share."""
        return StoreInfo(0, 0, 0, self._faults.count)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _connectable(self, address: CacheAddress) -> Any:
        # Reconnect at once after a closed connection; do not retry after a timeout.
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
        """Return the lease owner of this process; a forked child has its own."""
        return f"{self._nonce}-{os.getpid()}"

    def _shortest_lease(self, names: Sequence[bytes]) -> float:
        """Return the seconds until the first lease expires, 0 if one has expired."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.pttl(name)
        return float(max(0.0, min(pipeline.execute()) / 1e3))

    def _try(self, doing: str, call: Callable[[], T], otherwise: T) -> T:
        """Return the result of `call`; `otherwise` if Redis fails or failed a moment ago."""
        if not self._circuit.allows():
            self._faults.add()
            return otherwise
        try:
            done = call()
        except Exception as error:  # noqa: BLE001 - what speaks no Redis raises anything
            # ValueError is what redis-py raises when another thread closes the connection.
            self._faults.begin(doing, error)
            if isinstance(error, self._redis.ResponseError):
                self._circuit.succeeded()  # Redis answers, but it is full or read-only
            else:
                self._circuit.failed()
            return otherwise
        self._circuit.succeeded()
        self._faults.end(doing)
        return done
