"""An HTTP client with retries, time limits and a circuit breaker.

The only file that imports httpx and tenacity.
"""

from __future__ import annotations

import email.utils
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hotstart._lazy import require
from hotstart.concurrency import CircuitBreaker, Deadline
from hotstart.engines.remote.address import RemoteAddress
from hotstart.errors import (
    RemoteAnswerInvalid,
    RemoteError,
    RemoteRefused,
    RemoteTimeout,
    RemoteUnavailable,
)
from hotstart.telemetry import Counters, Histogram, Metric, span

_MESSAGE_LENGTH = 300  # maximum characters of a server's message in an error
_RETRY_STATUS = {408, 425, 429}
_OK = 200
# Others, and stacked ones, may grow a thousandfold more within one chunk.
_ENCODINGS = ("identity", "gzip", "deflate")


class RemoteLimits(NamedTuple):
    """Time limits and attempts of a remote call.

    Attributes:
        timeout: total seconds of a call, if the caller gives no timeout.
        connect: seconds to connect.
        silence: seconds without data after which an attempt fails.
        attempts: maximum requests for one batch.
        side_by_side: maximum concurrent requests of one call.
        first_wait: maximum wait before the second attempt, in seconds, doubled for each further
            attempt. The wait is random, so clients that failed together retry at different times.
        longest_wait: maximum seconds between two attempts, unless the server requests more.
    """

    timeout: float = 60.0
    connect: float = 5.0
    silence: float = 20.0
    attempts: int = 4
    side_by_side: int = 4
    first_wait: float = 0.2
    longest_wait: float = 5.0


class RemoteClient:
    """Posts JSON to `address`, with retries within the caller's timeout.

    The client is thread-safe and reuses connections. A forked child creates a new client, because
    its pool loads the model again.
    """

    def __init__(self, address: RemoteAddress, key: str | None, limits: RemoteLimits) -> None:
        self.place = address.identity
        self._key = key
        self._limits = limits
        self._http = _connect(address, key, limits)
        weakref.finalize(self, self._http.close)  # if nobody calls `close`
        self._circuit = CircuitBreaker()
        self._counts = Counters()
        self._seconds = Histogram()

    def post(self, path: str, body: dict[str, Any], timeout: float | None, most: int) -> Any:
        """Return the JSON response to `body`.

        Args:
            path: path of the route, below the URL of the address.
            body: content of the request.
            timeout: seconds for all attempts and waits; None for the limit of the client.
            most: bytes that the response may have, decompressed.

        Raises:
            RemoteUnavailable: the server is down, or failed repeatedly.
            RemoteTimeout: the server did not answer in time.
            RemoteRefused: the server rejected the request.
            RemoteAnswerInvalid: the response is not JSON.
        """
        budget = self._limits.timeout if timeout is None else timeout
        deadline = Deadline(budget)
        content = json.dumps(body, ensure_ascii=False).encode()
        tenacity = require("tenacity", extra="remote")
        backoff = tenacity.wait_random_exponential(
            multiplier=self._limits.first_wait, max=self._limits.longest_wait
        )
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_transient),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._limits.attempts),
                tenacity.stop_before_delay(budget),
            ),
            wait=lambda state: max(backoff(state), state.outcome.exception().retry_after),
            before_sleep=lambda state: self._counts.add("retries"),
            reraise=True,
        ):
            with attempt, span("request", place=self.place):
                return self._attempt(path, content, deadline, most)
        raise AssertionError("tenacity returns or raises")

    def metrics(self) -> Iterator[Metric]:
        """Yield requests, retries, failures by reason, latency, and the state of the circuit."""
        at = {"place": self.place}
        for name in ("requests", "retries"):
            text = f"{name.capitalize()} to a remote server"
            yield Metric(f"hotstart_remote_{name}_total", "counter", text, self._counts[name], at)
        for kind in (RemoteUnavailable, RemoteTimeout, RemoteRefused, RemoteAnswerInvalid):
            reason = at | {"reason": kind.__name__}
            text = "Failed requests"
            count = self._counts[kind.__name__]
            yield Metric("hotstart_remote_failures_total", "counter", text, count, reason)
        text = "State of the circuit breaker: 0 closed, 0.5 half-open, 1 open"
        state = {"closed": 0.0, "half-open": 0.5, "open": 1.0}[self._circuit.state]
        yield Metric("hotstart_remote_circuit_open", "gauge", text, state, at)
        text = "Duration of successful requests, in seconds"
        yield Metric("hotstart_remote_seconds", "histogram", text, self._seconds.read(), at)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return bool(self._http.is_closed)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _attempt(self, path: str, content: bytes, deadline: Deadline, most: int) -> Any:
        if not self._circuit.allows():
            reason = "the server failed repeatedly"
            raise RemoteUnavailable(self.place, reason=reason, retry_in=self._circuit.retry_in())
        self._counts.add("requests")
        began = time.monotonic()
        try:
            answer = self._exchange(path, content, deadline, most)
        except RemoteError as error:
            self._counts.add(type(error).__name__)
            if _is_transient(error):
                self._circuit.failed()
            else:  # the server is running and answers
                self._circuit.succeeded()
            raise
        self._circuit.succeeded()
        self._seconds.observe(time.monotonic() - began)
        return answer

    def _exchange(self, path: str, content: bytes, deadline: Deadline, most: int) -> Any:
        httpx = require("httpx", extra="remote")
        seconds_left = deadline.left or 0.0
        budget = deadline.seconds or 0.0
        if not seconds_left:  # a socket without time to wait fails with "in progress"
            raise RemoteTimeout(self.place, after=budget)
        timeout = httpx.Timeout(
            min(seconds_left, self._limits.silence),
            connect=min(seconds_left, self._limits.connect),
            pool=seconds_left,
        )
        _thread.deadline = deadline
        try:
            with self._http.stream("POST", path, content=content, timeout=timeout) as response:
                raw = self._read(response, most)
        except httpx.TimeoutException as error:
            raise RemoteTimeout(self.place, after=budget) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise RemoteUnavailable(self.place, reason=self._redacted(reason)) from error
        if response.status_code != _OK:
            raise self._error_for(response.status_code, raw, response.headers)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise RemoteAnswerInvalid(self.place, reason=f"it is not JSON ({error})") from error

    def _read(self, response: Any, most: int) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in _ENCODINGS:
            raise RemoteAnswerInvalid(self.place, reason=f"its content encoding is {encoding}")
        raw = bytearray()
        for chunk in response.iter_bytes():
            raw += chunk
            if len(raw) > most:
                raise RemoteAnswerInvalid(self.place, reason=f"it has more than {most} bytes")
        return bytes(raw)

    def _error_for(self, status: int, raw: bytes, headers: Any) -> RemoteError:
        message = self._redacted(raw.decode(errors="replace"))
        if status in _RETRY_STATUS or status >= 500:
            wait = _retry_after(headers.get("retry-after"))
            reason = f"HTTP {status}: {message}"
            return RemoteUnavailable(self.place, reason=reason, retry_after=wait)
        return RemoteRefused(self.place, status=status, message=message)

    def _redacted(self, text: str) -> str:
        """Return a server's message, shortened and without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_MESSAGE_LENGTH]


def _connect(address: RemoteAddress, key: str | None, limits: RemoteLimits) -> Any:
    httpx = require("httpx", extra="remote")
    assert address.url is not None, "the address has a URL"
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
    }
    if key:
        headers["Authorization"] = f"Bearer {key}"
    socket = None
    url = address.url
    if url.startswith("unix:"):
        socket, url = url.removeprefix("unix:"), "http://localhost"
    full = httpx.URL(url)
    user = (full.username, full.password) if full.username else None
    pool = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    # An explicit transport ignores the proxies of the environment.
    if socket:
        options = {"transport": httpx.HTTPTransport(uds=socket, limits=pool)}
    else:
        options = {"http2": full.scheme == "https", "limits": pool}
    client = httpx.Client(
        base_url=full.copy_with(username=None, password=None),  # httpx logs the URL
        auth=user,
        headers=headers,
        **options,
        follow_redirects=False,  # never send the key to another server
    )
    for transport in (client._transport, *client._mounts.values()):
        if transport is not None:  # None: a pattern without a proxy
            connections = transport._pool
            connections._network_backend = _DeadlineBackend(connections._network_backend)
    return client


class _Thread(threading.local):
    """The deadline of the exchange that this thread runs: httpx reads and writes in it."""

    deadline = Deadline(None)


_thread = _Thread()


class _DeadlineBackend:
    """A network backend of httpcore whose streams keep the deadline of the exchange.

    httpx has a time limit for each read. A server that sends a byte now and then, an informational
    answer, or compressed data of nothing would never exceed it.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, *arguments: Any, **options: Any) -> _DeadlineStream:
        return _DeadlineStream(self._backend.connect_tcp(*arguments, **options))

    def connect_unix_socket(self, *arguments: Any, **options: Any) -> _DeadlineStream:
        return _DeadlineStream(self._backend.connect_unix_socket(*arguments, **options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _DeadlineStream:
    """A network stream of httpcore that keeps the deadline of the exchange."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.read(max_bytes, _seconds(timeout, "ReadTimeout"))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _seconds(timeout, "WriteTimeout"))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, context: Any, host: str | None = None, timeout: float | None = None) -> Any:
        seconds = _seconds(timeout, "ConnectTimeout")
        return _DeadlineStream(self._stream.start_tls(context, host, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds(timeout: float | None, error: str) -> float | None:
    """Return the seconds of the next step; raise the `error` of httpcore if none is left."""
    left = _thread.deadline.left
    if left == 0.0:
        raise getattr(require("httpcore", extra="remote"), error)("the deadline of the exchange")
    return timeout if left is None else min(left, left if timeout is None else timeout)


def _is_transient(error: BaseException) -> bool:
    """Return whether a retry may succeed. An open circuit has its own retry time."""
    if isinstance(error, RemoteUnavailable):
        return error.retry_in is None
    return isinstance(error, RemoteTimeout)


def _retry_after(header: str | None, now: Callable[[], float] = time.time) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 if absent or invalid."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now())
    except ValueError:
        return 0.0
