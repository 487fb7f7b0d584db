"""SQLite files: transactions, and numbered append-only migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class ForeignDatabase(sqlite3.DatabaseError):
    """The database belongs to another program."""


class NewerDatabase(sqlite3.DatabaseError):
    """The `version` of the database is newer than `newest`, the last that this program knows."""

    def __init__(self, version: int, newest: int) -> None:
        super().__init__(f"its layout is number {version}, the newest known here is {newest}")
        self.version = version
        self.newest = newest


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit all changes of the block, or none. `connection` must be in autocommit mode.

    BEGIN IMMEDIATE takes the write lock first, so that the transaction cannot fail half-way because
    of another writer.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def migrate(
    connection: sqlite3.Connection, application_id: int, migrations: Sequence[Sequence[str]]
) -> None:
    """Apply the missing migrations, each one completely or not at all.

    Args:
        connection: in autocommit mode. A new database gets every migration.
        application_id: the number in the file header that identifies databases of hotstart.
        migrations: the statements of each; append only. The first sets `application_id`.

    Raises:
        ForeignDatabase: the database belongs to another program.
        NewerDatabase: its layout is newer than the last of `migrations`.
    """
    newest = len(migrations)
    connection.execute("BEGIN")  # one snapshot: another process may be applying the migrations
    try:
        version = _version(connection, application_id, newest)
    finally:
        connection.execute("ROLLBACK")
    if version == newest:
        return
    connection.execute("PRAGMA journal_mode = WAL")
    for number, statements in enumerate(migrations, start=1):
        with transaction(connection):
            if (
                _version(connection, application_id, newest) < number
            ):  # otherwise another process did it
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: sqlite3.Connection, application_id: int, newest: int) -> int:
    """Return the number of the last migration; 0 for a new database."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != application_id and (version or tables):
        raise ForeignDatabase("it is a database of another program")
    if version > newest:
        raise NewerDatabase(version, newest)
    return version
