"""Responses: JSON, vectors, problem details (RFC 9457)."""

from __future__ import annotations

import asyncio
import base64
import math
from array import array
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from hotstart import errors
from hotstart.encoding import normalized
from hotstart.types import Matrix, little_endian

STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (errors.InvalidInput, 400),
    (errors.UnknownModel, 404),
    (errors.UnknownVersion, 404),
    (errors.IndexMissing, 404),
    (errors.Overloaded, 429),
    (errors.RemoteTimeout, 504),
    (errors.RemoteError, 502),
    (errors.StillComputing, 504),
    (errors.PredictionTimeout, 504),
    (errors.IndexDamaged, 500),
    (errors.HotstartError, 503),  # others: the model is not ready, or its load failed
)
"""The first row whose class matches an error gives the status."""

STATUS_CODES = (400, 401, 403, 404, 405, 408, 413, 415, 421, 429, 500, 502, 503, 504)
"""Every error status."""

_OPENAI_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "forbidden"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}
_AGAIN = {503: 1.0, 429: 1.0}


def problem(
    path: str,
    status: int,
    facts: str,
    remedy: str,
    *,
    retry_after: float | None = None,
    code: str | None = None,
) -> Response:
    """Return a problem response for a request to `path`.

    Args:
        path: path of the request; below /v1 the response has the form of OpenAI's errors.
        status: HTTP status, 400 or above.
        facts: what went wrong.
        remedy: how to fix it; empty if `facts` say it.
        retry_after: seconds after which a retry may succeed.
        code: of OpenAI's error; None for the usual one of `status`.
    """
    headers = {}
    after = _AGAIN.get(status) if retry_after is None else retry_after
    if after is not None:
        headers["retry-after"] = str(max(1, round(after)))
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if path.startswith(("/v1/", "/embeddings", "/models")):
        otherwise = "invalid_request_error" if status < 500 else "server_error"
        kind, usual = _OPENAI_TYPES.get(status, (otherwise, None))
        content: dict[str, Any] = {
            "error": {
                "message": errors.message(facts, remedy),
                "type": kind,
                "param": None,
                "code": code or usual,
            }
        }
        return Response(orjson.dumps(content), status, headers, "application/json")
    content = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": facts,
        "remedy": remedy,
    }
    return Response(orjson.dumps(content), status, headers, "application/problem+json")


def problem_of(path: str, error: errors.HotstartError) -> Response:
    """Return the problem response for `error`."""
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    after = getattr(error, "retry_after", None) or _expected(error)
    return problem(path, status, error.facts, error.remedy, retry_after=after)


def unforeseen(path: str, error: Exception) -> Response:
    """Return the problem response for an unexpected error, such as a model's own."""
    facts = f"The request failed: {errors.described(error)}"
    return problem(path, 500, facts, "Look at the server's log")


def _expected(error: errors.HotstartError) -> float | None:
    """Return the seconds that a load is expected to take from now; None if unknown."""
    if isinstance(error, errors.NotReady) and error.expected is not None:
        return max(1.0, error.expected - error.elapsed)
    return None


def shortened(vectors: Matrix, dimensions: int | None) -> Matrix:
    """Return the leading `dimensions` of each vector, of length 1 if the whole ones have it.

    Raises:
        InvalidInput: the vectors are not that long.
    """
    longest = vectors.dimension
    if dimensions is None or dimensions == longest:
        return vectors
    if dimensions > longest:
        expected = f"from 1 to {longest}"
        raise errors.InvalidInput("dimensions", got=dimensions, expected=expected)
    rows = vectors.tolist()
    have_length_1 = all(abs(math.hypot(*row) - 1) <= _LENGTH_TOLERANCE for row in rows)
    cut = [row[:dimensions] for row in rows]
    shorter = [normalized(row) for row in cut] if have_length_1 else cut
    return Matrix.of_rows(array("f", row).tobytes() for row in shorter)


_LENGTH_TOLERANCE = 1e-3


_TURN = 32  # vectors written between two yields to the event loop, about 1 ms
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def json_response(content: Any) -> Response:
    """Return `content`, which may hold NumPy arrays, as a JSON response."""
    return Response(orjson.dumps(content, option=_OPTIONS), media_type="application/json")


def raw_response(content: bytes) -> Response:
    """Return encoded JSON as a response."""
    return Response(content, media_type="application/json")


async def openai_embeddings(
    vectors: Matrix, encoding_format: str, model: str, tokens: int, fingerprint: str
) -> bytes:
    """Return the body of OpenAI's response for `vectors`.

    The `fingerprint` is the identity of the vector space, for clients that cache vectors.
    """
    write = _base64 if encoding_format == "base64" else _numbers
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = orjson.dumps({"model": model, "usage": usage, "fingerprint": fingerprint})[1:]
    entries = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % entry
        async for entry in _written(vectors, write)
    ]
    return b'{"object":"list","data":[' + b",".join(entries) + b"]," + rest


async def plain_embeddings(vectors: Matrix) -> bytes:
    """Return `vectors` as a JSON list of lists."""
    return b"[" + b",".join([row async for _, row in _written(vectors, _numbers)]) + b"]"


async def _written(vectors: Matrix, write: Callable[[bytes], bytes]) -> Any:
    """Yield position and JSON of each vector; let other tasks run at intervals."""
    for place, row in enumerate(vectors.rows()):
        if place and place % _TURN == 0:
            await asyncio.sleep(0)
        yield place, write(row)


def _numbers(row: bytes) -> bytes:
    return orjson.dumps(memoryview(row).cast("f").tolist())


def _base64(row: bytes) -> bytes:
    return b'"' + base64.b64encode(little_endian(row)) + b'"'


def listed(texts: str | list[str]) -> list[str]:
    """Return `texts` as a list."""
    return [texts] if isinstance(texts, str) else texts


def estimated(texts: Iterable[str]) -> int:
    """Return an estimate of the tokens of `texts`, for models that cannot count them."""
    return sum(len(text) // 4 + 1 for text in texts)
