"""Semantic ranking: the vector of the query and the nearest chunks.

ONNX Runtime multiplies the rows of a buffer with the query and keeps the largest products, without
NumPy. The buffer is used without a copy; it may be a memory-mapped file (`mmap.ACCESS_COPY`). The
graphs `nearest-*.onnx` beside this file are made by `tests/support/make_nearest.py`.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hotstart.errors import HotstartError
from hotstart.ort import ITEM_BYTES, OrtValue
from hotstart.ort_package import session_class
from hotstart.search.fusion import FEEDBACK, READ, legibility, moved
from hotstart.system import available_cores

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.search.store import Store, StoreState


RowType = Literal["float32", "float16", "int8"]

_BLOCK = 16_384  # rows of float16 that are widened at a time: 25 MB at 384 dimensions
_CANDIDATES = 8  # times as many rows in 8 bits as are asked for are scored again
_LEAST_CANDIDATES = 64


class Neighbour(NamedTuple):
    """A row and its product with the query; for unit vectors, the cosine."""

    row: int
    score: float


class VectorMatrix:
    """Vectors in a buffer.

    Args:
        data: a writable buffer of the rows.
        dimension: the length of a row.
        type: the element type of `data`.
        scales: for int8, a writable buffer of float32: what each row is multiplied with.
        exact: for int8, a writable buffer of the rows in float32, for the final scores.
    """

    def __init__(
        self,
        data: Any,
        dimension: int,
        type: RowType = "float32",
        *,
        scales: Any = None,
        exact: Any = None,
    ) -> None:
        self._data = data
        self._dimension = dimension
        self._type = type
        self._scales = scales
        self._exact = exact

    def __len__(self) -> int:
        return memoryview(self._data).nbytes // (self._dimension * ITEM_BYTES[self._type])

    def nearest(self, query: Sequence[float], limit: int) -> list[Neighbour]:
        """Return the `limit` rows with the largest product, the largest first.

        Of equal products the lower row comes first. Rows of int8 choose the candidates, whose
        scores are those of `exact`.
        """
        rows = len(self)
        limit = min(limit, rows)
        if limit < 1:
            return []
        if self._type == "int8":
            return self._nearest_of_8_bits(query, limit)
        size = rows if self._type == "float32" else _BLOCK
        found: list[Neighbour] = []
        for start in range(0, rows, size):
            found += self._best(start, min(start + size, rows), query, limit)
        return sorted(found, key=lambda each: (-each.score, each.row))[:limit]

    def _best(self, start: int, stop: int, query: Sequence[float], limit: int) -> list[Neighbour]:
        """Return the best rows from `start` to before `stop`."""
        line = self._dimension * ITEM_BYTES[self._type]
        data = memoryview(self._data).cast("B")[start * line : stop * line]
        inputs = {
            "rows": OrtValue(data, (stop - start, self._dimension), self._type),
            "query": OrtValue(array("f", query), (self._dimension, 1), "float32"),
        }
        return _run(self._type, inputs, min(limit, stop - start), start)

    def _nearest_of_8_bits(self, query: Sequence[float], limit: int) -> list[Neighbour]:
        rows = len(self)
        largest = max(map(abs, query)) or 1.0
        levels = array("b", [round(127 * value / largest) for value in query])
        inputs = {
            "rows": OrtValue(self._data, (rows, self._dimension), "int8"),
            "query": OrtValue(levels, (self._dimension, 1), "int8"),
            "scales": OrtValue(self._scales, (rows, 1), "float32"),
        }
        number = min(rows, max(_CANDIDATES * limit, _LEAST_CANDIDATES))
        candidates = sorted(each.row for each in _run("int8", inputs, number, 0))
        line = 4 * self._dimension
        exact = memoryview(self._exact).cast("B")
        gathered = bytearray().join(exact[row * line : (row + 1) * line] for row in candidates)
        found = VectorMatrix(gathered, self._dimension).nearest(query, limit)
        return [Neighbour(candidates[each.row], each.score) for each in found]


def _run(kind: RowType, inputs: dict[str, OrtValue], limit: int, start: int) -> list[Neighbour]:
    limits = OrtValue(array("q", [limit]), (1,), "int64")
    scores, places = _session(kind).run(["scores", "places"], inputs | {"limit": limits})
    return [
        Neighbour(start + place, score)
        for place, score in zip(
            memoryview(places.data).cast("q"), memoryview(scores.data).cast("f"), strict=True
        )
    ]


@functools.cache
def _session(kind: RowType) -> Any:
    path = os.path.join(os.path.dirname(__file__), f"nearest-{kind}.onnx")
    return session_class()(path, threads=available_cores())


class Vectors:
    """The vectors of `store` that have `fingerprint`.

    Stored vectors have length 1, so that the product is the cosine. A vector of another dimension
    than the first is damaged and is skipped.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._ids: list[int] = []
        data = bytearray()  # grows in place, so that the vectors are in memory once
        length = 0
        for chunk_id, vector in store.vectors(fingerprint):
            length = length or len(vector)
            if len(vector) == length:
                self._ids.append(chunk_id)
                data += vector
        self._matrix = VectorMatrix(data, length // 4)

    def __len__(self) -> int:
        return len(self._ids)

    def nearest(self, query: Sequence[float], limit: int) -> list[tuple[int, float]]:
        """Return chunk id and cosine of the `limit` vectors nearest to `query`, nearest first.

        Of equal cosines the lower id comes first."""
        if not self._ids:
            return []
        found = self._matrix.nearest(query, limit)
        return sorted(((self._ids[row], score) for row, score in found), key=_order)

    def cosines(self, store: Store, query: Sequence[float], ids: Iterable[int]) -> dict[int, float]:
        """Return the cosine to `query` of each of the chunks `ids` that has a vector, by its id."""
        stored = store.vectors_of(self._fingerprint, ids)
        length = 4 * len(query)
        usable = {one: vector for one, vector in stored.items() if len(vector) == length}
        chunks = sorted(usable)
        matrix = VectorMatrix(bytearray().join(usable[one] for one in chunks), len(query))
        return {chunks[each.row]: each.score for each in matrix.nearest(query, len(chunks))}


def _order(scored: tuple[int, float]) -> tuple[float, int]:
    return -scored[1], scored[0]


logger = logging.getLogger(__name__)


class Nearest(NamedTuple):
    """Chunk ids with their cosine, the nearest first.

    Attributes:
        ranking: the ids and cosines.
        reason: why there is none, or why the fallback answers; None otherwise.
        cosines: those of the ranking, and of the other chunks that were asked for.
        legibility: how well the model reads the query, from 0 to 1.
        model: the model of the query's vector; None without one.
        engine: the engine of the model.
        shortfall: how many chunks lack vectors; None if none does.
    """

    ranking: list[tuple[int, float]]
    reason: str | None
    cosines: Mapping[int, float] = MappingProxyType({})
    legibility: float = 1.0
    model: str | None = None
    engine: str | None = None
    shortfall: str | None = None


class Semantic:
    """Ranks chunks by the cosine to a query. Thread-safe.

    The vectors stay in memory between searches and are reloaded when the store changes.
    """

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder
        self._lock = threading.Lock()
        self._loaded: tuple[tuple[StoreState, str], Vectors] | None = None

    def start(self) -> None:
        """Start loading the model in the background, if there is one."""
        if self._embedder:
            self._embedder.start_loading()

    def nearest(
        self,
        store: Store,
        query: str,
        limit: int,
        timeout: float | None,
        also: Sequence[int] = (),
    ) -> Nearest:
        """Return the `limit` chunks nearest to `query`, and the cosines of the chunks `also`.

        Return none, with a reason, if the model does not return the vector within `timeout` seconds
        or the store has no vectors. The fallback of the embedder may answer, because the index has
        its vectors too.
        """
        if self._embedder is None:
            return Nearest([], "no embedding model was given")
        if not store.has_vectors():
            return Nearest([], "the index has no vectors yet: update it with an embedding model")
        try:
            result = self._embedder.embed(
                query,
                accept_fallback=True,
                prompt_name="query",
                normalize_embeddings=True,
                convert_to_numpy=False,
                timeout=timeout,
            )
            # The fallback says nothing of how it reads.
            told = None if result.reason else self._embedder.coverage(query[:READ], timeout=timeout)
        except HotstartError as error:
            logger.info("Answering without vectors: %s", error)
            return Nearest([], error.facts)
        readable = 1.0 if told is None else legibility(query[:READ], told)
        space = result.comparable_with or result.fingerprint
        vectors = self._vectors(store, space)
        vector = self._with_feedback(store, vectors, space, result.vectors)
        ranking = vectors.nearest(vector, limit)
        cosines = dict(ranking)
        cosines |= vectors.cosines(store, vector, [one for one in also if one not in cosines])
        return Nearest(
            ranking,
            reason=f"{result.model!r} answers: {result.reason}" if result.reason else None,
            cosines=cosines,
            legibility=readable,
            model=result.model,
            engine=result.engine,
            shortfall=_shortfall(len(vectors), store, result.model),
        )

    def _with_feedback(
        self, store: Store, vectors: Vectors, space: str, query: Sequence[float]
    ) -> list[float]:
        """Return the vector `query`, moved towards the nearest chunks."""
        found = vectors.nearest(query, FEEDBACK)
        stored = store.vectors_of(space, [one for one, _ in found])
        return moved(query, [memoryview(vector).cast("f") for vector in stored.values()])

    def _vectors(self, store: Store, fingerprint: str) -> Vectors:
        key = (store.state(), fingerprint)
        with self._lock:
            if self._loaded is None or self._loaded[0] != key:
                self._loaded = None  # free the old vectors before loading the new ones
                self._loaded = (key, Vectors(store, fingerprint))
            return self._loaded[1]


def _shortfall(vectors: int, store: Store, model: str) -> str | None:
    """Return why the vectors do not cover the index; None if they do."""
    chunks = store.count_chunks()
    if vectors >= chunks:
        return None
    had = "none" if vectors == 0 else f"only {vectors}"
    return f"{had} of {chunks} chunks have vectors of {model!r} yet"
