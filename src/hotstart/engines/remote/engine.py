"""The remote engine: send texts, check and return the vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from hotstart.concurrency import Deadline
from hotstart.engines.remote.address import RemoteAddress, known_dimension
from hotstart.engines.remote.client import RemoteClient, RemoteLimits
from hotstart.engines.remote.protocols import PROTOCOLS, batches, checked, fingerprint
from hotstart.errors import RemoteAnswerInvalid
from hotstart.telemetry import Metric
from hotstart.types import EngineOutput, Matrix

_ENVELOPE = 1_000_000
_VECTOR = 250_000
"""Bytes that a response may have, at all and for each vector: JSON of 10,000 dimensions."""

_PROBE = "dimension"
_REPLACED = "its model was replaced during the call"


class RemoteEngine:
    """Requests vectors from the server at `address`.

    The constructor does not connect.

    Args:
        address: protocol, model and URL.
        key: the API key; never part of a message, log or repr.
        dimensions: requested length of the vectors; None for the model's full length.
        limits: time limits and attempts.
    """

    name = "remote"

    def __init__(
        self,
        address: RemoteAddress,
        key: str | None = None,
        dimensions: int | None = None,
        limits: RemoteLimits | None = None,
    ) -> None:
        self._address = address
        self._protocol = PROTOCOLS[address.protocol]
        self._dimensions = dimensions
        self._limits = limits or RemoteLimits()
        self._client = RemoteClient(address, key, self._limits)
        self._dimension = dimensions or known_dimension(address)

    def __repr__(self) -> str:
        return f"RemoteEngine({self._address.identity!r})"

    @property
    def dimension(self) -> int:
        """Length of a vector: published, or taken from a response (requested if need be)."""
        if self._dimension is None:
            self.embed([_PROBE])
        assert self._dimension is not None, "a successful call sets the dimension"
        return self._dimension

    def embed(
        self,
        texts: Sequence[str],
        batch_size: int | None = None,
        timeout: float | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> EngineOutput:
        """Return the vectors of `texts`, float32 (len(texts), dimension), with token counts.

        Raises:
            RemoteError: a request failed; the subclass gives the reason. No vectors are returned.
        """
        assert not self._client.is_closed, "embed after close"
        if not texts:
            return EngineOutput(Matrix(b"", self.dimension), None)
        deadline = Deadline(self._limits.timeout if timeout is None else timeout)
        requests = batches(self._protocol, texts, batch_size)
        if len(requests) == 1:
            return self._request(requests[0], deadline)
        with ThreadPoolExecutor(min(len(requests), self._limits.side_by_side)) as threads:
            answers = [threads.submit(self._request, batch, deadline) for batch in requests]
            try:
                return self._joined([answer.result() for answer in answers])
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def count(self, texts: Sequence[str]) -> None:
        """Return None: the server counts tokens."""

    def metrics(self) -> Iterator[Metric]:
        """Yield requests, retries, failures, latency and the state of the circuit breaker."""
        return self._client.metrics()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _joined(self, parts: Sequence[EngineOutput]) -> EngineOutput:
        if len({part.fingerprint for part in parts}) > 1:
            raise RemoteAnswerInvalid(self._client.place, reason=_REPLACED)
        vectors = Matrix.joined([part.vectors for part in parts])
        return EngineOutput(vectors, None, parts[0].fingerprint)

    def _request(self, texts: Sequence[str], deadline: Deadline) -> EngineOutput:
        body = self._protocol.body(texts, self._address.model, self._dimensions)
        most = _ENVELOPE + len(texts) * _VECTOR
        answer = self._client.post(self._protocol.path, body, deadline.left, most)
        place = self._client.place
        vectors = checked(place, answer, self._protocol, len(texts), self._dimension)
        self._dimension = vectors.shape[1]
        stated = fingerprint(place, answer) if self._address.states_fingerprint else None
        remote = stated and f"remote-{self._address.identity}-{stated}"
        return EngineOutput(Matrix.of(vectors), None, remote)
