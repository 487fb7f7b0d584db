"""What the framework adapters share: serializable options, vectors as lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from hotstart.embedder import Embedder
from hotstart.errors import InvalidInput
from hotstart.pool.aio import in_thread

# Not `cache`: its address may hold a password, and where vectors are kept is the machine's matter.
WRITTEN = (
    *("revision", "strategy", "engine", "precision", "device", "truncate_dim"),
    *("allow_download", "load_timeout", "keep_alive"),
)


def public_name(model: str) -> str:
    """Return `model` as it is written down: an address is without user and password."""
    return re.sub(r"//[^/@]*@", "//", model)


def written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of `options` is written down, as plain values; None is left out."""
    return {
        name: value.value if isinstance(value, Enum) else value
        for name in WRITTEN
        if (value := options.get(name)) is not None
    }


def check_written(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput where `options`, read from somewhere, hold what code alone may give."""
    if "trust_remote_code" in options:
        raise InvalidInput("trust_remote_code", got="written down", expected="it in code alone")


async def query_vector(embedder: Embedder, text: str) -> list[float]:
    """Return what `embedder.embed_query` returns."""
    vector: list[float] = (await embedder.aencode_query(text)).tolist()
    return vector


async def document_vectors(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return what `embedder.embed_documents` returns."""
    return await in_thread(_rows, await embedder.aencode_document(texts))


def _rows(vectors: Iterable[Any]) -> list[list[float]]:
    # Row by row: one call for thousands of them would keep the interpreter from the loop.
    return [vector.tolist() for vector in vectors]
