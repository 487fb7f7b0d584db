"""One SQLite file, and its troubles in the words of who owns it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hotstart.errors import IndexBusy, IndexDamaged
from hotstart.search.migrations import migrate

_PATIENCE = 5.0  # seconds to wait for another connection's transaction
_PAGE = 1000  # rows fetched at a time


class Database:
    """The database at `path`, made or migrated where need be. Used by the thread that opened it.

    Any method may raise IndexDamaged, and IndexBusy where another process holds a transaction
    for seconds.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with self._told():
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
            try:
                migrate(self._connection, path)
                # In WAL mode a commit then costs no wait for the disk, and a crash of the machine
                # loses at most the last commits, never the file.
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA foreign_keys = ON")
            except BaseException:
                self._connection.close()
                raise

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes at its end, as one; nothing of it where it raises."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def run(self, sql: str, *values: object) -> list[Any]:
        """Execute one statement and return all of its rows."""
        with self._told():
            return self._connection.execute(sql, values).fetchall()

    def run_many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Execute one statement for each of `rows`."""
        with self._told():
            self._connection.executemany(sql, rows)

    def number(self, sql: str, *values: object) -> int:
        """Return the one number that a statement gives."""
        number: int = self.run(sql, *values)[0][0]
        return number

    def each(self, sql: str, *values: object) -> Iterator[Any]:
        """Yield the rows of a large result without holding all of them."""
        with self._told():
            cursor = self._connection.execute(sql, values)
        while True:
            with self._told():
                rows = cursor.fetchmany(_PAGE)
            if not rows:
                return
            yield from rows

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:  # a fault of this program, not of the file
            raise
        except sqlite3.OperationalError as error:
            reason, remedy = str(error), None
            if "locked" in reason:
                raise IndexBusy(os.path.dirname(os.path.dirname(self._path))) from error
            if "no such" not in reason:  # the disk is full, the folder may not be written, ...
                remedy = "Check the space and the permissions of its folder, then run this again"
            raise IndexDamaged(self._path, reason=reason, remedy=remedy) from error
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(self._path, reason=str(error)) from error
