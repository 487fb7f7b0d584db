"""Requests and responses of each remote protocol, as data."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hotstart.errors import RemoteAnswerInvalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]


class WireProtocol(NamedTuple):
    """A remote protocol: path, body, response.

    Attributes:
        path: path after the base URL.
        most_texts: maximal number of texts of a request.
        most_characters: maximal characters of a request; a longer text is sent alone.
        body: returns the JSON body for texts, model and dimensions.
        vectors: returns the vectors of a JSON response, in the order of the texts; raises KeyError,
            TypeError or ValueError for an invalid response.
    """

    path: str
    most_texts: int
    most_characters: int
    body: Callable[[Sequence[str], str, int | None], dict[str, Any]]
    vectors: Callable[[Any], list[Vectors]]


def batches(protocol: WireProtocol, texts: Sequence[str], most: int | None) -> list[list[str]]:
    """Split `texts` in order into requests of at most `most` texts."""
    limit = min(protocol.most_texts, most or protocol.most_texts)
    found: list[list[str]] = []
    room = 0
    for text in texts:
        if not found or len(found[-1]) == limit or len(text) > room:
            found.append([])
            room = protocol.most_characters
        found[-1].append(text)
        room -= len(text)
    return found


def checked(
    place: str, answer: Any, protocol: WireProtocol, texts: int, dimension: int | None
) -> Vectors:
    """Return the vectors of an answer, float32 (texts, dimension).

    Raises:
        RemoteAnswerInvalid: the response has another form, or vectors are missing, of different
            or unexpected length, or not finite.
    """
    try:
        vectors = protocol.vectors(answer)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        reason = f"it is not of the protocol's form ({type(error).__name__}: {error})"
        raise RemoteAnswerInvalid(place, reason=reason) from error
    lengths = {len(vector) for vector in vectors}
    expected = {dimension} if dimension else lengths
    if len(vectors) != texts:
        raise RemoteAnswerInvalid(place, reason=f"{len(vectors)} vectors for {texts} texts")
    if len(lengths) != 1 or lengths != expected or 0 in lengths:
        said = f"vectors of length {', '.join(map(str, sorted(lengths)))}"
        wanted = f", not {dimension} as before" if dimension else ""
        raise RemoteAnswerInvalid(place, reason=said + wanted)
    matrix = np.stack(vectors)
    if not np.isfinite(matrix).all():
        raise RemoteAnswerInvalid(place, reason="a vector holds NaN or infinity")
    return matrix


def _openai_body(texts: Sequence[str], model: str, dimensions: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "base64"}
    return body | ({"dimensions": dimensions} if dimensions else {})


def _openai_vectors(answer: Any) -> list[Vectors]:
    """Return the vectors; servers without base64 support send lists."""
    entries = answer["data"]
    places = [entry["index"] for entry in entries]
    if sorted(places) != list(range(len(entries))):
        raise ValueError(f"indices {places[:5]}...")
    ordered = sorted(entries, key=lambda entry: int(entry["index"]))
    return [_vector(entry["embedding"]) for entry in ordered]


def _tei_body(texts: Sequence[str], model: str, dimensions: int | None) -> dict[str, Any]:
    return {"inputs": list(texts), "truncate": True, "normalize": True}


def _tei_vectors(answer: Any) -> list[Vectors]:
    if not isinstance(answer, list):
        raise TypeError(f"a list was expected, not {type(answer).__name__}")
    return [_vector(row) for row in answer]


def _vector(value: Any) -> Vectors:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
    vector = np.asarray(value, np.float32)
    if vector.ndim != 1:
        raise ValueError(f"a vector has {vector.ndim} dimensions")
    return vector


# OpenAI accepts 300,000 tokens a request. A token has at least one character, except in scripts
# where a character takes two; the server refuses a request that is too large.
_OPENAI = WireProtocol("/embeddings", 2048, 200_000, _openai_body, _openai_vectors)

PROTOCOLS = {
    "openai": _OPENAI,
    "hotstart": _OPENAI._replace(path="/v1/embeddings", most_texts=256),
    "tei": WireProtocol("/embed", 32, 200_000, _tei_body, _tei_vectors),
}
