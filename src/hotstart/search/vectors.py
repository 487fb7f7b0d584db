"""Nearest vectors, exactly: one matrix of one vector space, one product with the query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotstart._lazy import require

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hotstart.search.store import Store


class Vectors:
    """The vectors of `store` that have `fingerprint`, as they are at this moment.

    Others are never looked at. They were stored with length 1, so the product is the cosine. A
    vector of another length than the first is damage, and is left out.
    """

    def __init__(self, store: Store, fingerprint: str) -> None:
        numpy = require("numpy")
        self._ids: list[int] = []
        data = bytearray()  # grows in place: the vectors are held once, not twice
        length = 0
        for chunk_id, vector in store.vectors(fingerprint):
            length = length or len(vector)
            if len(vector) == length:
                self._ids.append(chunk_id)
                data += vector
        self._matrix: NDArray[np.float32] = numpy.frombuffer(data, "<f4").reshape(
            len(self._ids), length // 4
        )

    def __len__(self) -> int:
        return len(self._ids)

    def nearest(self, query: NDArray[np.float32], limit: int) -> list[tuple[int, float]]:
        """Return the chunk ids of the `limit` vectors nearest to `query`, with their cosine, the
        nearest first; of equal ones the lower id."""
        if not self._ids:
            return []
        numpy = require("numpy")
        scores = self._matrix @ query
        limit = min(limit, len(scores))
        best = numpy.argpartition(scores, len(scores) - limit)[-limit:]
        found = [(self._ids[row], float(scores[row])) for row in best]
        return sorted(found, key=lambda scored: (-scored[1], scored[0]))
