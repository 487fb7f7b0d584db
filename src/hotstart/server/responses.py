"""Answers as bytes: vectors as numbers or as base64, without a copy that need not be."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

_TURN = 32  # vectors written before other requests have their turn: about a millisecond
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def json_response(content: Any) -> Response:
    """Return the answer that is `content` as JSON; arrays of NumPy may be in it."""
    return Response(orjson.dumps(content, option=_OPTIONS), media_type="application/json")


def raw_response(content: bytes) -> Response:
    """Return the answer of JSON that is written already."""
    return Response(content, media_type="application/json")


async def openai_embeddings(
    vectors: Vectors, encoding_format: str, model: str, tokens: int
) -> bytes:
    """Return OpenAI's answer for float32 `vectors` (n, dimension)."""
    write = _base64 if encoding_format == "base64" else _numbers
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = orjson.dumps({"model": model, "usage": usage})[1:]
    entries = [
        b'{"object":"embedding","index":%d,"embedding":%b}' % entry
        async for entry in _written(vectors, write)
    ]
    return b'{"object":"list","data":[' + b",".join(entries) + b"]," + rest


async def plain_embeddings(vectors: Vectors) -> bytes:
    """Return `vectors` (n, dimension) as a list of lists."""
    return b"[" + b",".join([row async for _, row in _written(vectors, _numbers)]) + b"]"


async def _written(vectors: Vectors, write: Any) -> Any:
    """Yield each vector's place and its JSON, letting others have their turn now and then."""
    whole = np.ascontiguousarray(vectors, "<f4")
    for place, row in enumerate(whole):
        if place and place % _TURN == 0:
            await asyncio.sleep(0)
        yield place, write(row)


def _numbers(row: Vectors) -> bytes:
    return orjson.dumps(row, option=_OPTIONS)


def _base64(row: Vectors) -> bytes:
    return b'"' + base64.b64encode(row.data) + b'"'


def listed(texts: str | list[str]) -> list[str]:
    """Return one text as a list of it."""
    return [texts] if isinstance(texts, str) else texts


def estimated(texts: Iterable[str]) -> int:
    """Return about how many tokens `texts` are, for models that cannot count them."""
    return sum(len(text) // 4 + 1 for text in texts)
