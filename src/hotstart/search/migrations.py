"""The layout of the index database, as numbered steps. A step that was released never changes."""

from __future__ import annotations

import sqlite3

from hotstart.errors import IndexDamaged

_APPLICATION = 0x686F7473  # "hots", in the header of the file: what tells our databases from others

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {_APPLICATION}",
        # One row. `identity` tells this database from another at the same path; `generation` rises
        # with each committed change of chunks, `vectors_generation` with each of vectors.
        """CREATE TABLE meta (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            identity TEXT NOT NULL,
            generation INTEGER NOT NULL,
            vectors_generation INTEGER NOT NULL)""",
        "INSERT INTO meta VALUES (1, lower(hex(randomblob(16))), 0, 0)",
        """CREATE TABLE documents (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL UNIQUE,
            size INTEGER NOT NULL,
            mtime_ns INTEGER NOT NULL,
            sha256 TEXT NOT NULL)""",
        # AUTOINCREMENT: the id of a removed chunk is never given again, so that an index that lags
        # behind can at worst name a chunk that is gone, never another one.
        """CREATE TABLE chunks (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
            position INTEGER NOT NULL,
            heading TEXT NOT NULL,
            start_line INTEGER NOT NULL,
            end_line INTEGER NOT NULL,
            text TEXT NOT NULL,
            generation INTEGER NOT NULL)""",
        "CREATE INDEX chunks_of_document ON chunks (document_id, position)",
        "CREATE INDEX chunks_by_generation ON chunks (generation)",
        "CREATE TABLE tombstones (chunk_id INTEGER PRIMARY KEY, generation INTEGER NOT NULL)",
        "CREATE INDEX tombstones_by_generation ON tombstones (generation)",
        """CREATE TABLE vectors (
            chunk_id INTEGER NOT NULL REFERENCES chunks ON DELETE CASCADE,
            fingerprint TEXT NOT NULL,
            vector BLOB NOT NULL,
            PRIMARY KEY (chunk_id, fingerprint))""",
    ),
)


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Bring the database at `path` to the newest layout, each step whole or not at all.

    `connection` is in autocommit mode. A database that is new becomes an empty index.

    Raises:
        IndexDamaged: it is not ours, or of a layout that is not known here yet.
    """
    if _version(connection, path) == len(MIGRATIONS):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    for number, statements in enumerate(MIGRATIONS, start=1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _version(connection, path) < number:  # else another process was first
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _version(connection: sqlite3.Connection, path: str) -> int:
    """The number of the last step that was taken; 0 for a new database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION:
        if (
            version
            or connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
        ):
            raise IndexDamaged(path, reason="it is a database of another program")
        return 0
    if version > len(MIGRATIONS):
        raise IndexDamaged(
            path,
            reason=f"its layout is number {version}, the newest known here is {len(MIGRATIONS)}",
            remedy="Upgrade hotstart: pip install -U hotstart",
        )
    return version
