"""The vectors of one vector space: nearest chunks, exact cosines.

Most vectors lie in a memory-mapped file, derived from the store: rows of 8 bits, which choose the
candidates. Their cosines come from the float32 vectors of the store, and so do the vectors that are
newer than the file. A damaged or outdated row costs a candidate, never a wrong cosine.

ONNX Runtime multiplies the rows with the query and keeps the largest products, without NumPy and
without a copy of the rows. The graphs `nearest-*.onnx` beside this file are made by
`tests/support/make_nearest.py`.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import mmap
import os
import struct
from array import array
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hotstart.ort import ITEM_BYTES, OrtValue
from hotstart.ort_package import session_class
from hotstart.system import available_cores

if TYPE_CHECKING:
    from hotstart.search.store import Store

logger = logging.getLogger(__name__)

RowType = Literal["float32", "float16", "int8"]

_BLOCK = 16_384  # rows of float16 that are widened at a time: 25 MB at 384 dimensions


_WIDER = 4  # times as many chunks are looked at before all of those that a filter leaves


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
    """

    def __init__(
        self,
        data: Any,
        dimension: int,
        type: RowType = "float32",
        *,
        scales: Any = None,
    ) -> None:
        self._data = data
        self._dimension = dimension
        self._type = type
        self._scales = scales

    def __len__(self) -> int:
        return memoryview(self._data).nbytes // (self._dimension * ITEM_BYTES[self._type])

    def nearest(self, query: Sequence[float], limit: int) -> list[Neighbour]:
        """Return the `limit` rows with the largest product, the largest first.

        Of equal products the lower row comes first. Products with rows of int8 are approximate: the
        query is rounded to 8 bits too.
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
        scale = (max(map(abs, query)) or 1.0) / 127
        levels = array("b", [round(value / scale) for value in query])
        inputs = {
            "rows": OrtValue(self._data, (rows, self._dimension), "int8"),
            "query": OrtValue(levels, (self._dimension, 1), "int8"),
            "scales": OrtValue(self._scales, (rows, 1), "float32"),
        }
        found = _run("int8", inputs, limit, 0)
        return [Neighbour(each.row, each.score * scale) for each in found]


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


# The vectors of a store -----------------------------------------------------------------------

_FEW = 1_000  # vectors that are read from the store without a file
_CANDIDATES = 3  # times as many rows of 8 bits as are asked for are scored again
_LEAST_CANDIDATES = 64


class Vectors:
    """The vectors of `store` that have `fingerprint`.

    Stored vectors have length 1, so that the product is the cosine. A vector of another dimension
    than the first is damaged and is skipped.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        self._file = _open(store, fingerprint)
        self._recent_ids: list[int] = []
        data = bytearray()  # grows in place, so that the vectors are in memory once
        length = 4 * self._file.dimension if self._file else 0
        covered = self._file.generation if self._file else 0
        for chunk_id, vector in store.vectors(fingerprint, after=covered):
            length = length or len(vector)
            if len(vector) == length:
                self._recent_ids.append(chunk_id)
                data += vector
        self._recent = VectorMatrix(data, length // 4 or 1)

    def nearest(
        self,
        store: Store,
        query: Sequence[float],
        limit: int,
        among: Collection[int] | None = None,
    ) -> list[tuple[int, float]]:
        """Return chunk id and cosine of the `limit` vectors nearest to `query`, nearest first.

        Of equal cosines the lower id comes first. With `among`, those of its chunks alone.
        """
        if among is not None:
            return self._nearest_among(store, query, limit, among)
        found = [
            (self._recent_ids[each.row], each.score) for each in self._recent.nearest(query, limit)
        ]
        if self._file:
            found += self._nearest_in_file(store, self._file, query, limit)
        return sorted(dict(found).items(), key=_order)[:limit]

    def _nearest_among(
        self, store: Store, query: Sequence[float], limit: int, among: Collection[int]
    ) -> list[tuple[int, float]]:
        ids = sorted(among)
        chosen = set(ids)
        near = [each for each in self.nearest(store, query, _WIDER * limit) if each[0] in chosen]
        if len(near) >= min(limit, len(ids)):
            return near[:limit]
        for start in range(0, len(ids), _BLOCK):
            near += self.cosines(store, query, ids[start : start + _BLOCK]).items()
            near = sorted(dict(near).items(), key=_order)[:limit]
        return near

    def _nearest_in_file(
        self, store: Store, file: _VectorFile, query: Sequence[float], limit: int
    ) -> list[tuple[int, float]]:
        """Return the nearest of the file that are still stored, more of them where some are not."""
        rows = len(file.matrix)
        number = max(_CANDIDATES * limit, _LEAST_CANDIDATES)
        while True:
            ids = [file.ids[each.row] for each in file.matrix.nearest(query, number)]
            found = self.cosines(store, query, ids)
            if len(found) >= min(limit, rows) or number >= rows:
                return sorted(found.items(), key=_order)[:limit]
            number *= _CANDIDATES

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


# The file -----------------------------------------------------------------------------------
#
# A header, the rows of 8 bits, padding to 8 bytes, the chunk id of each row in 64 bits, and the
# scale of each row in float32.

_HEADER = struct.Struct("<8sIIQQ32s")  # magic, format, dimension, rows, generation, identity: 64
_MAGIC = b"hotstart"
_FORMAT = 1
_ROUNDED = 4_096  # vectors that are rounded at a time


class _VectorFile(NamedTuple):
    """An open file: its rows, their chunk ids, and the generation of vectors that it covers."""

    matrix: VectorMatrix
    ids: memoryview
    dimension: int
    generation: int


def _path(store: Store, fingerprint: str) -> str:
    digest = hashlib.sha256(fingerprint.encode()).hexdigest()[:16]
    return os.path.join(store.folder, f"vectors-{digest}.bin")


def _open(store: Store, fingerprint: str) -> _VectorFile | None:
    """Return the file of `store`; None if there is none, or it is another's, newer or damaged."""
    state = store.state()
    try:
        with open(_path(store, fingerprint), "rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        magic, format, dimension, rows, generation, identity = _HEADER.unpack_from(mapped)
    except (OSError, ValueError, struct.error):  # absent, empty, or shorter than a header
        return None
    ids = _HEADER.size + -(-rows * dimension // 8) * 8
    scales = ids + 8 * rows
    known = (magic, format, identity.decode("latin-1")) == (_MAGIC, _FORMAT, state.identity)
    whole = len(mapped) == scales + 4 * rows and dimension > 0
    if not (known and whole and generation <= state.vectors_generation):
        return None
    matrix = VectorMatrix(
        mapped[_HEADER.size : _HEADER.size + rows * dimension],
        dimension,
        "int8",
        scales=mapped[scales:],
    )
    return _VectorFile(matrix, mapped[ids:scales].cast("q"), dimension, generation)


def sync_vectors(store: Store, fingerprint: str) -> None:
    """Write the file of the vectors of `fingerprint` anew, if many are newer than the file.

    The caller holds the lock of the store. A file that cannot be written is left as it is.
    """
    file = _open(store, fingerprint)
    written = len(file.ids) if file else 0
    recent = store.count_vectors(fingerprint, after=file.generation if file else 0)
    if recent <= max(_FEW, written // 10):
        return
    path = _path(store, fingerprint)
    del file  # some systems replace no mapped file
    try:
        _write(path, store, fingerprint)
    except OSError as error:
        logger.warning("%s could not be written: %s", path, error)


def rewrite_vectors(store: Store) -> None:
    """Write the files of vectors anew, without those that were removed from `store`.

    The caller holds the lock of the store.
    """
    for name in os.listdir(store.folder):
        if name.startswith("vectors-"):
            os.unlink(os.path.join(store.folder, name))
    for fingerprint in store.vector_spaces():
        sync_vectors(store, fingerprint)


def _write(path: str, store: Store, fingerprint: str) -> None:
    from hotstart.files import remove_leftovers, replacing

    remove_leftovers(path)
    state = store.state()
    vectors = store.vectors(fingerprint)
    ids = array("q")
    scales = array("f")
    length = 0
    with replacing(path) as file:
        file.write(bytes(_HEADER.size))
        while block := list(islice(vectors, _ROUNDED)):
            length = length or len(block[0][1])
            usable = [(one, vector) for one, vector in block if len(vector) == length]
            levels, factors = _rounded(b"".join(vector for _, vector in usable), length // 4)
            file.write(levels)
            ids.extend(one for one, _ in usable)
            scales.extend(factors)
        file.write(bytes(-file.tell() % 8))
        file.write(ids.tobytes() + scales.tobytes())
        file.seek(0)
        identity = state.identity.encode("latin-1")
        file.write(
            _HEADER.pack(_MAGIC, _FORMAT, length // 4, len(ids), state.vectors_generation, identity)
        )


def _rounded(vectors: bytes, dimension: int) -> tuple[Any, Any]:
    """Return the rows of float32 in 8 bits, and the scale of each row."""
    import numpy as np

    rows = np.frombuffer(vectors, "<f4").reshape(-1, dimension)
    scales = np.abs(rows).max(axis=1, initial=0.0) / 127
    levels = np.rint(rows / np.where(scales, scales, 1.0)[:, None]).astype(np.int8)
    return levels.tobytes(), scales.astype("<f4").tolist()
