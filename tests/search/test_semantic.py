from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotstart.search.chunking import Chunk
from hotstart.search.semantic import Vectors
from hotstart.search.store import Store, StoredDocument


def unit(seed: int, count: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(count, 16)).astype("float32")
    scaled: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled


def fill(store: Store, fingerprint: str, rows: NDArray[np.float32]) -> None:
    with store.transaction():
        chunks = [Chunk(str(n), "", 1, 1) for n in range(len(rows))]
        store.put("a", StoredDocument(0, 0, ""), chunks)
    store.put_vectors(fingerprint, [(n, row.tobytes()) for n, row in enumerate(rows, 1)])


@given(seed=st.integers(0, 99), count=st.integers(1, 40), limit=st.integers(1, 50))
def test_the_nearest_are_those_of_the_whole_sorted(seed: int, count: int, limit: int) -> None:
    rows, (query,) = unit(seed, count), unit(seed + 1000, 1)
    with Store(":memory:") as store:
        fill(store, "f", rows)
        found = Vectors(store, "f").nearest(query, limit)
    cosines = rows @ query
    expected = sorted(range(count), key=lambda n: -cosines[n])[:limit]
    assert [identifier - 1 for identifier, _ in found] == expected
    np.testing.assert_allclose([score for _, score in found], cosines[expected], atol=1e-6)


def test_vectors_of_another_fingerprint_are_not_looked_at(store: Store) -> None:
    rows = unit(0, 3)
    fill(store, "f", rows)
    store.put_vectors("g", [(2, (-rows[1]).tobytes())])
    assert [i for i, _ in Vectors(store, "g").nearest(rows[0], 9)] == [2]
    assert len(Vectors(store, "none")) == 0
    assert Vectors(store, "none").nearest(rows[0], 9) == []


def test_equal_vectors_come_by_id_and_a_damaged_one_not_at_all(store: Store) -> None:
    (row,) = unit(0, 1)
    fill(store, "f", np.stack([row, row, row]))
    with store.transaction():
        store.put("b", StoredDocument(0, 0, ""), [Chunk("x", "", 1, 1)])
    store.put_vectors("f", [(4, b"123")])
    assert [i for i, _ in Vectors(store, "f").nearest(row, 9)] == [1, 2, 3]


def test_cosines_of_any_chunks_are_exact(store: Store) -> None:
    rows, (query,) = unit(0, 5), unit(1, 1)
    fill(store, "f", rows)
    found = Vectors(store, "f").cosines(store, query, [5, 2, 9])
    assert found == pytest.approx({5: rows[4] @ query, 2: rows[1] @ query}, abs=1e-6)
    assert Vectors(store, "f").cosines(store, query, []) == {}
