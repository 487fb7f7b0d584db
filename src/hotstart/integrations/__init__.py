"""What the framework adapters share: serializable options, vectors as lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from hotstart.embedder import Embedder
from hotstart.errors import InvalidInput
from hotstart.pool.aio import in_thread

# Without `cache`: its URL may contain a password, and its place depends on the machine.
WRITTEN = (
    *("revision", "strategy", "engine", "precision", "device", "truncate_dim"),
    *("allow_download", "load_timeout", "keep_alive"),
)


def public_name(model: str) -> str:
    """Return `model` for serialization, an address without user and password."""
    return re.sub(r"//[^/@]*@", "//", model)


def written(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the serializable `options` as plain values, without None."""
    return {
        name: value.value if isinstance(value, Enum) else value
        for name in WRITTEN
        if (value := options.get(name)) is not None
    }


def check_written(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput if deserialized `options` contain an option that only code may set."""
    if "trust_remote_code" in options:
        raise InvalidInput("trust_remote_code", got="a serialized value", expected="set in code")


async def query_vector(embedder: Embedder, text: str) -> list[float]:
    """Return the vector of a question as a list of floats."""
    vector: list[float] = await embedder.aencode_query(text, convert_to_numpy=False)
    return vector


async def document_vectors(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of texts as lists of floats."""
    return await in_thread(_rows, await embedder.aencode_document(texts))


def _rows(vectors: Iterable[Any]) -> list[list[float]]:
    # Row by row: one call for thousands of rows would block the event loop.
    return [vector.tolist() for vector in vectors]
