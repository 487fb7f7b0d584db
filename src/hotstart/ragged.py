"""Results of several rows for each text: sparse and multi-vector embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.errors import InvalidInput, check_count
from hotstart.types import EmbedOutput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class SparseEmbedding(NamedTuple):
    """The weights of a text over the vocabulary that are not zero.

    Attributes:
        indices: int32 (n,), ids of tokens, ascending.
        values: float32 (n,), the weight of each.
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]

    def as_dict(self) -> dict[int, float]:
        """Return the weights by id."""
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))

    def as_object(self) -> dict[str, NDArray[Any]]:
        """Return a dict with the keys `values` and `indices`."""
        return {"values": self.values, "indices": self.indices}


def sparse_embeddings(
    output: EmbedOutput, max_active_dims: int | None = None
) -> list[SparseEmbedding]:
    """Return the sparse embedding of each text of `output`.

    Args:
        output: what a sparse model returns.
        max_active_dims: keep only so many of the largest values; None for the model's own number.
    """
    check_count("max_active_dims", max_active_dims, optional=True)
    most = max_active_dims or output.info.max_active_dims
    embeddings = []
    for rows in _rows(output):
        found = SparseEmbedding(rows[:, 0].astype("int32"), rows[:, 1].copy())
        if most is not None and len(rows) > most:
            largest = (-abs(found.values)).argsort(kind="stable")[:most]
            largest.sort()
            found = SparseEmbedding(found.indices[largest], found.values[largest])
        embeddings.append(found)
    return embeddings


def multi_vectors(output: EmbedOutput) -> list[NDArray[np.float32]]:
    """Return the vectors of each text of `output`, float32 (tokens, dimension)."""
    return [rows.copy() for rows in _rows(output)]


def _rows(output: EmbedOutput) -> Iterator[NDArray[np.float32]]:
    """Yield the rows of each text."""
    assert output.lengths is not None, "the model gives several rows for a text"
    rows = output.vectors.array()
    start = 0
    for length in output.lengths:
        yield rows[start : start + length]
        start += length


def maxsim(queries: Sequence[Any], documents: Sequence[Any]) -> NDArray[np.float32]:
    """Return the score of each document for each query, float32 (queries, documents).

    The score is the sum, over the vectors of a query, of the largest dot product with a vector of
    the document (Khattab and Zaharia 2020). Both are lists of arrays (tokens, dimension).

    Raises:
        InvalidInput: an embedding has no vector, or is no matrix.
    """
    import numpy as np

    left, right = (
        [np.asarray(each, dtype=np.float32) for each in side] for side in (queries, documents)
    )
    for each in (*left, *right):
        if each.ndim != 2 or not len(each):
            expected = "lists of arrays (tokens, dimension) with a token or more"
            raise InvalidInput("embeddings", got=each.shape, expected=expected)
    widths = {each.shape[1] for each in (*left, *right)}
    if len(widths) > 1:
        expected = "arrays of one dimension in queries and documents"
        raise InvalidInput("embeddings", got=sorted(widths), expected=expected)
    scores = [[(query @ each.T).max(axis=1).sum() for each in right] for query in left]
    return np.array(scores, dtype=np.float32).reshape(len(left), len(right))
