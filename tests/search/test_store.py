from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from hotstart.errors import IndexBusy, IndexDamaged
from hotstart.search import store as database
from hotstart.search.activation import UseHistory
from hotstart.search.chunking import Chunk
from hotstart.search.store import Store, StoredDocument, StorePool

DOCUMENT = StoredDocument(1, 2, "digest")


def chunks(*texts: str) -> list[Chunk]:
    return [Chunk(text, "", n, n) for n, text in enumerate(texts, 1)]


def put(store: Store, path: str, *texts: str) -> None:
    with store.transaction():
        store.put(path, DOCUMENT, chunks(*texts))


def texts(store: Store) -> dict[int, str]:
    return {passage.id: passage.text for passage in store.chunks_after(0)}


def test_the_generation_rises_once_for_a_transaction_that_changes_chunks(store: Store) -> None:
    with store.transaction():
        store.put("a", DOCUMENT, chunks("x", "y"))
        store.put("b", DOCUMENT, chunks("z"))
    assert store.state().generation == 1
    with store.transaction():
        store.restamp("a", DOCUMENT._replace(size=9))
        store.put("b", DOCUMENT, chunks("z"))
    assert store.state().generation == 1
    assert store.documents() == {"a": DOCUMENT._replace(size=9), "b": DOCUMENT}
    with store.transaction():
        store.remove("a")
    assert store.state().generation == 2
    assert (store.removed_after(1), store.removed_after(2)) == ([1, 2], [])


def test_chunks_that_stay_keep_their_ids_and_vectors(store: Store) -> None:
    put(store, "a", "one", "two", "two", "three")
    store.put_vectors("f", [(n, b"1234") for n in (1, 2, 3, 4)])
    put(store, "a", "new", "two", "three", "two")
    assert texts(store) == {2: "two", 3: "two", 4: "three", 5: "new"}
    assert [p.text for p in store.chunks_after(1)] == ["new"]
    assert store.removed_after(1) == [1]
    assert [i for i, _ in store.vectors("f")] == [2, 3, 4]
    assert {i: p.start_line for i, p in store.passages([2, 3, 4, 5]).items()} == {
        5: 1,
        2: 2,
        4: 3,
        3: 4,
    }


def test_the_id_of_a_removed_chunk_is_never_given_again(store: Store) -> None:
    put(store, "a", "x")
    with store.transaction():
        store.remove("a")
    put(store, "a", "x")
    assert texts(store) == {2: "x"}


def test_a_renamed_document_keeps_its_chunks_and_is_news_to_the_lexical_index(
    store: Store,
) -> None:
    put(store, "a", "x")
    with store.transaction():
        store.rename("a", "b")
    assert [(p.id, p.path) for p in store.chunks_after(1)] == [(1, "b")]


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    put(store, "a", "x")

    def fail() -> None:
        with store.transaction():
            store.put("a", DOCUMENT, chunks("y"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert texts(store) == {1: "x"}
    assert store.state().generation == 1
    put(store, "b", "z")  # the generation is counted on from what was committed
    assert store.state().generation == 2


def test_vectors_are_kept_apart_by_fingerprint(store: Store) -> None:
    put(store, "a", "x", "y", "z")
    assert not store.has_vectors()
    store.put_vectors("f", [(1, b"f1")])
    store.put_vectors("g", [(1, b"g1"), (2, b"g2")])
    assert store.has_vectors()
    assert (store.count_vectors("f"), store.count_vectors("g")) == (1, 2)
    assert list(store.vectors("g")) == [(1, b"g1"), (2, b"g2")]
    assert [p.id for p in store.lacking_vector("f", after=0, limit=9)] == [2, 3]
    assert [p.id for p in store.lacking_vector("f", after=2, limit=9)] == [3]
    assert [p.id for p in store.lacking_vector("f", after=0, limit=1)] == [2]
    assert store.state().vectors_generation == 2
    assert store.state().generation == 1


def test_passages_leave_out_what_is_gone(store: Store) -> None:
    put(store, "a", "x")
    assert list(store.passages([7, 1])) == [1]


def test_a_store_that_is_held_for_long_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.05)
    path = str(tmp_path / ".hotstart" / "index.db")
    (tmp_path / ".hotstart").mkdir()
    with Store(path) as one, Store(path) as other, one.transaction():
        assert other.count_chunks() == 0  # readers do not wait for a writer
        with pytest.raises(IndexBusy, match=str(tmp_path)), other.transaction():
            pass


def test_a_page_that_was_overwritten_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    with Store(str(path)) as store:
        put(store, "a", *(f"{n} " * 300 for n in range(300)))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(IndexDamaged, match="malformed"), Store(str(path)) as store:
        list(store.chunks_after(0))


def test_a_place_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(IndexDamaged, match="permissions"):
        Store(str(tmp_path / "no" / "index.db"))


def test_faults_of_the_program_are_not_called_damage(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.put_vectors("f", [(1, b"of no chunk")])


def test_names_of_an_unchanged_chunk_are_recorded_anew(store: Store) -> None:
    with store.transaction():
        store.put("a.py", StoredDocument(1, 1, "x"), [Chunk("def f(): pass", "def f", 1, 1)])
    ((_, before),) = [(each.names, each.id) for each in store.chunks_after(0)]
    generation = store.state().generation
    named = Chunk("def f(): pass", "def f", 1, 1, ("f", "g"))
    with store.transaction():
        store.put("a.py", StoredDocument(1, 1, "x", rules=3), [named])
    assert store.documents()["a.py"].rules == 3
    assert [(each.id, each.names) for each in store.chunks_after(generation)] == [(before, "f g")]


def test_uses_stay_with_a_renamed_document_and_go_with_a_removed_one(store: Store) -> None:
    put(store, "a", "x")
    put(store, "b", "y")
    with store.transaction():
        assert store.use("a", 5.0)
        assert store.use("a", 7.0)
        assert store.use("b", 6.0)
        assert not store.use("nowhere", 6.0)
    assert store.uses() == {"a": UseHistory((7.0, 5.0), 2, 5.0), "b": UseHistory((6.0,), 1, 6.0)}
    with store.transaction():
        store.rename("a", "c")
        store.remove("b")
    assert store.uses() == {"c": UseHistory((7.0, 5.0), 2, 5.0)}


def test_links_are_found_from_either_end(store: Store) -> None:
    for path in "abc":
        put(store, path, path)
    with store.transaction():
        store.put_links("a", ["b", "b", "later"])
        store.put_links("c", ["a"])
    assert set(store.links(["a"])) == {("a", "b"), ("a", "later"), ("c", "a")}
    assert store.links(["b"]) == [("a", "b")]
    with store.transaction():
        store.put_links("a", [])
        store.remove("c")
    assert store.links(["a", "b", "c"]) == []


def test_a_store_stays_open_between_two_uses(tmp_path: Path) -> None:
    pool = StorePool(str(tmp_path / "index.db"))
    with pool.borrow():
        pass  # the file is made: another one from now on
    with pool.borrow() as first, pool.borrow() as beside:
        assert beside is not first
    with pool.borrow() as again:
        assert again in {first, beside}
        with Store(str(tmp_path / "index.db")) as writer, writer.transaction():
            writer.put("a", StoredDocument(0, 0, ""), [Chunk("x", "", 1, 1)])
        assert again.count_chunks() == 1


def test_a_replaced_file_is_opened_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    Store(str(path)).close()
    pool = StorePool(str(path))
    with pool.borrow() as store:
        identity = store.state().identity
    for file in tmp_path.iterdir():
        file.unlink()
    with pool.borrow() as store:
        assert store.state().identity != identity
    with pool.borrow():
        path.write_bytes(b"no database " * 1000)
    with pytest.raises(IndexDamaged), pool.borrow():
        pass


def test_a_forked_child_opens_stores_of_its_own(tmp_path: Path) -> None:
    pool = StorePool(str(tmp_path / "index.db"))
    for _ in range(2):
        with pool.borrow() as store:
            store.count_chunks()
    child = os.fork()
    if child == 0:
        with pool.borrow() as own:
            os._exit(own.count_chunks())
    assert os.waitpid(child, 0)[1] == 0
    with pool.borrow() as store:
        assert store.count_chunks() == 0
