from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hotstart.search.chunking import Chunk
from hotstart.search.store import Store, StoredDocument
from hotstart.search.vectors import Vectors, sync_vectors


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
        found = Vectors(store, "f").nearest(store, query.tolist(), limit)
    cosines = rows @ query
    expected = sorted(range(count), key=lambda n: -cosines[n])[:limit]
    assert [identifier - 1 for identifier, _ in found] == expected
    np.testing.assert_allclose([score for _, score in found], cosines[expected], atol=1e-6)


def test_vectors_of_another_fingerprint_are_not_looked_at(store: Store) -> None:
    rows = unit(0, 3)
    fill(store, "f", rows)
    store.put_vectors("g", [(2, (-rows[1]).tobytes())])
    assert [i for i, _ in Vectors(store, "g").nearest(store, rows[0].tolist(), 9)] == [2]
    assert Vectors(store, "none").nearest(store, rows[0].tolist(), 9) == []


def test_equal_vectors_come_by_id_and_a_damaged_one_not_at_all(store: Store) -> None:
    (row,) = unit(0, 1)
    fill(store, "f", np.stack([row, row, row]))
    with store.transaction():
        store.put("b", StoredDocument(0, 0, ""), [Chunk("x", "", 1, 1)])
    store.put_vectors("f", [(4, b"123")])
    assert [i for i, _ in Vectors(store, "f").nearest(store, row.tolist(), 9)] == [1, 2, 3]


def test_cosines_of_any_chunks_are_exact(store: Store) -> None:
    rows, (query,) = unit(0, 5), unit(1, 1)
    fill(store, "f", rows)
    vectors = Vectors(store, "f")
    found = vectors.cosines(store, query.tolist(), [5, 2, 9])
    assert found == pytest.approx({5: rows[4] @ query, 2: rows[1] @ query}, abs=1e-6)
    assert vectors.cosines(store, query.tolist(), []) == {}


MANY = 3_000


@pytest.fixture
def rows(store: Store) -> NDArray[np.float32]:
    """Fill `store` with many vectors and write their file."""
    rows = unit(5, MANY)
    fill(store, "f", rows)
    sync_vectors(store, "f")
    return rows


def file_of(store: Store) -> Path:
    (path,) = Path(store.folder).glob("vectors-*.bin")
    return path


def nearest(store: Store, query: NDArray[np.float32], limit: int = 10) -> list[tuple[int, float]]:
    return Vectors(store, "f").nearest(store, query.tolist(), limit)


def assert_exact(store: Store, rows: NDArray[np.float32]) -> None:
    """Compare the nearest of many queries with the products of all `rows`, by chunk id from 1."""
    for query in unit(6, 30):
        cosines = rows @ query
        expected = np.argsort(-cosines)[:10]
        found = nearest(store, query)
        assert [one - 1 for one, _ in found] == expected.tolist()
        np.testing.assert_allclose([score for _, score in found], cosines[expected], atol=1e-6)


def test_the_file_finds_what_float32_finds(store: Store, rows: NDArray[np.float32]) -> None:
    assert file_of(store).stat().st_size == 64 + MANY * (16 + 8 + 4)
    assert_exact(store, rows)


def test_vectors_newer_than_the_file_are_found(store: Store, rows: NDArray[np.float32]) -> None:
    (new,) = unit(9, 1)
    with store.transaction():
        store.put("b", StoredDocument(0, 0, ""), [Chunk("new", "", 1, 1)])
    store.put_vectors("f", [(MANY + 1, new.tobytes())])
    written = file_of(store).read_bytes()
    sync_vectors(store, "f")
    assert file_of(store).read_bytes() == written  # one vector is not worth a file
    assert_exact(store, np.vstack([rows, new]))


def test_removed_chunks_are_passed_over_however_many_they_are(store: Store) -> None:
    rows = unit(5, MANY)
    fill(store, "f", rows)
    (query,) = unit(6, 1)
    order = np.argsort(-(rows @ query))
    sync_vectors(store, "f")
    best = {int(row) for row in order[:2_000]}
    kept = [Chunk(str(n), "", 1, 1) for n in range(MANY) if n not in best]
    with store.transaction():
        store.put("a", StoredDocument(0, 0, ""), kept)
    assert [one - 1 for one, _ in nearest(store, query)] == order[2_000:2_010].tolist()


def test_a_file_that_grew_by_many_vectors_is_written_again(
    store: Store, rows: NDArray[np.float32]
) -> None:
    more = unit(10, 1_500)
    with store.transaction():
        chunks = [Chunk(f"more {n}", "", 1, 1) for n in range(len(more))]
        store.put("b", StoredDocument(0, 0, ""), chunks)
    store.put_vectors("f", [(n, row.tobytes()) for n, row in enumerate(more, MANY + 1)])
    sync_vectors(store, "f")
    assert file_of(store).stat().st_size == 64 + (MANY + 1_500) * (16 + 8 + 4)
    assert_exact(store, np.vstack([rows, more]))


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "format", "newer", "store", "rows"])
def test_a_damaged_file_costs_time_and_no_answer(
    store: Store, rows: NDArray[np.float32], damage: str
) -> None:
    path = file_of(store)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-1]
    elif damage == "empty":
        content.clear()
    else:
        place, value = {
            "foreign": (0, b"H"),
            "format": (8, b"\xff"),
            "newer": (24, b"\xff"),
            "store": (32, b"?"),
            "rows": (20, b"\xff"),
        }[damage]
        content[place : place + 1] = value
    path.write_bytes(content)
    assert_exact(store, rows)
    sync_vectors(store, "f")
    assert path.stat().st_size == 64 + MANY * (16 + 8 + 4)
    assert_exact(store, rows)


def test_an_absent_file_is_written_by_the_next_update(
    store: Store, rows: NDArray[np.float32]
) -> None:
    file_of(store).unlink()
    assert_exact(store, rows)
    sync_vectors(store, "f")
    assert file_of(store).exists()


def test_cosines_of_chunks_without_vectors_are_absent(store: Store) -> None:
    rows = unit(0, 3)
    fill(store, "f", rows)
    found = Vectors(store, "f").cosines(store, rows[0].tolist(), [3, 1, 7])
    assert found == pytest.approx({1: 1.0, 3: float(rows[2] @ rows[0])}, abs=1e-6)
    assert Vectors(store, "f").cosines(store, rows[0].tolist(), []) == {}
