from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hotstart.errors import IndexDamaged
from hotstart.search import store as migrations
from hotstart.search.store import Store


def test_a_new_file_becomes_an_empty_index(tmp_path: Path) -> None:
    path = str(tmp_path / "index.db")
    with Store(path) as store:
        first = store.state()
        assert (first.generation, first.vectors_generation) == (0, 0)
    with Store(path) as store:
        assert store.state() == first
    with Store(str(tmp_path / "other.db")) as other:
        assert other.state().identity != first.identity


def test_a_step_is_taken_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "index.db")
    Store(path).__exit__()
    good = ("CREATE TABLE extra (x)", "INSERT INTO extra VALUES (1)")
    steps = migrations.MIGRATIONS
    monkeypatch.setattr(migrations, "MIGRATIONS", (*steps, (good[0], "INSERT INTO nowhere ...")))
    with pytest.raises(IndexDamaged):
        Store(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(steps),)
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'extra'").fetchall()
    monkeypatch.setattr(migrations, "MIGRATIONS", (*steps, good))
    Store(path).__exit__()
    Store(path).__exit__()  # and once only
    assert connection.execute("SELECT x FROM extra").fetchall() == [(1,)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(steps) + 1,)
    connection.close()


def test_a_newer_layout_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = str(tmp_path / "index.db")
    Store(path).__exit__()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(IndexDamaged, match="Upgrade hotstart"):
        Store(path)


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_another_program_is_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "index.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(IndexDamaged, match="another program"):
        Store(str(path))
    assert path.read_bytes() == before


def test_what_is_no_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(IndexDamaged, match="not a database"):
        Store(str(path))
