"""The layout of a cache file, as numbered steps. A step that was released never changes."""

from __future__ import annotations

import sqlite3

from hotstart.sqlite import transaction

_APPLICATION = 0x68637631  # "hcv1", in the header of the file: what tells our files from others

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {_APPLICATION}",
        # `used` is the minute of the last use, coarse so that a hit seldom writes.
        """CREATE TABLE entries (
            key BLOB NOT NULL UNIQUE,
            value BLOB NOT NULL,
            used INTEGER NOT NULL)""",
        "CREATE INDEX entries_by_use ON entries (used)",
        # `until` is in seconds since 1970: processes have no other clock in common.
        "CREATE TABLE leases (key BLOB PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL)",
    ),
)


class ForeignFile(sqlite3.DatabaseError):
    """A database of another program, or of a newer layout: not ours to write to."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest layout, each step whole or not at all.

    `connection` is in autocommit mode.

    Raises:
        ForeignFile: it is not ours, or of a layout that is not known here yet.
    """
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    for number, statements in enumerate(MIGRATIONS, start=1):
        with transaction(connection):
            if _version(connection) < number:  # else another process was first
                for statement in statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: sqlite3.Connection) -> int:
    """The number of the last step that was taken; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (application != _APPLICATION and (version or tables)) or version > len(MIGRATIONS):
        raise ForeignFile("a database of another program, or of a newer hotstart")
    return version
