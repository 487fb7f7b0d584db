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


_FINGERPRINT_LENGTH = 200  # maximum characters


class WireProtocol(NamedTuple):
    """The requests and responses of a remote protocol.

    Attributes:
        path: the path after the base URL.
        most_texts: maximum texts of a request.
        most_characters: maximum characters of a request; a longer text is sent alone.
        body: returns the JSON body for texts, model and dimensions.
        vectors: returns the vectors of a JSON response in the order of the texts. Raises KeyError,
            TypeError or ValueError if the response has another form.
    """

    path: str
    most_texts: int
    most_characters: int
    body: Callable[[Sequence[str], str, int | None], dict[str, Any]]
    vectors: Callable[[Any], list[Vectors]]


def batches(protocol: WireProtocol, texts: Sequence[str], most: int | None) -> list[list[str]]:
    """Return `texts` split into requests, in order, with at most `most` texts each."""
    limit = min(protocol.most_texts, most or protocol.most_texts)
    requests: list[list[str]] = []
    characters_left = 0
    for text in texts:
        if not requests or len(requests[-1]) == limit or len(text) > characters_left:
            requests.append([])
            characters_left = protocol.most_characters
        requests[-1].append(text)
        characters_left -= len(text)
    return requests


def checked(
    place: str, answer: Any, protocol: WireProtocol, texts: int, dimension: int | None
) -> Vectors:
    """Return the checked vectors of a response, float32 (texts, dimension).

    Raises:
        RemoteAnswerInvalid: the response does not follow the protocol, or vectors are missing, have
            a wrong length, or contain NaN or infinity.
    """
    try:
        vectors = protocol.vectors(answer)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        reason = f"it does not follow the protocol ({type(error).__name__}: {error})"
        raise RemoteAnswerInvalid(place, reason=reason) from error
    lengths = {len(vector) for vector in vectors}
    expected = {dimension} if dimension else lengths
    if len(vectors) != texts:
        raise RemoteAnswerInvalid(place, reason=f"{len(vectors)} vectors for {texts} texts")
    if len(lengths) != 1 or lengths != expected or 0 in lengths:
        reason = f"vectors of length {', '.join(map(str, sorted(lengths)))}"
        if dimension:
            reason += f", not {dimension} as before"
        raise RemoteAnswerInvalid(place, reason=reason)
    matrix = np.stack(vectors)
    if not np.isfinite(matrix).all():
        raise RemoteAnswerInvalid(place, reason="a vector holds NaN or infinity")
    return matrix


def fingerprint(place: str, answer: Any) -> str | None:
    """Return the fingerprint that a checked response of a hotstart server states; None if none.

    Raises:
        RemoteAnswerInvalid: the fingerprint is no short text.
    """
    stated = answer.get("fingerprint")
    if stated is None:
        return None
    if not isinstance(stated, str) or len(stated) > _FINGERPRINT_LENGTH:
        raise RemoteAnswerInvalid(place, reason="its fingerprint is no short text")
    return stated


def _openai_body(texts: Sequence[str], model: str, dimensions: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "base64"}
    if dimensions:
        body["dimensions"] = dimensions
    return body


def _hotstart_body(texts: Sequence[str], model: str, dimensions: int | None) -> dict[str, Any]:
    body = _openai_body(texts, model, dimensions)
    if not model:
        del body["model"]
    return body


def _openai_vectors(answer: Any) -> list[Vectors]:
    """Return the vectors; servers that ignore the requested base64 send lists."""
    entries = answer["data"]
    indices = [entry["index"] for entry in entries]
    if sorted(indices) != list(range(len(entries))):
        raise ValueError(f"indices {indices[:5]}...")
    ordered = sorted(entries, key=lambda entry: int(entry["index"]))
    return [_vector(entry["embedding"]) for entry in ordered]


def _tei_body(texts: Sequence[str], model: str, dimensions: int | None) -> dict[str, Any]:
    return {"inputs": list(texts), "truncate": True, "normalize": True}


def _tei_vectors(answer: Any) -> list[Vectors]:
    if not isinstance(answer, list):
        raise TypeError(f"the response must be a list, got {type(answer).__name__}")
    return [_vector(row) for row in answer]


def _vector(value: Any) -> Vectors:
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
    vector = np.asarray(value, np.float32)
    if vector.ndim != 1:
        raise ValueError(f"a vector must have 1 dimension, got {vector.ndim} dimensions")
    return vector


# OpenAI accepts 300,000 tokens per request. A token has at least one character, except in scripts
# where a character needs two tokens. The server rejects a larger request with an error.
_OPENAI = WireProtocol("/embeddings", 2048, 200_000, _openai_body, _openai_vectors)

PROTOCOLS = {
    "openai": _OPENAI,
    "hotstart": _OPENAI._replace(path="/v1/embeddings", most_texts=256, body=_hotstart_body),
    "tei": WireProtocol("/embed", 32, 200_000, _tei_body, _tei_vectors),
}
