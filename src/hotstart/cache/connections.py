"""Connections to one SQLite file: one for each call at a time, none carried across a fork."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hotstart.cache.migrations import migrate
from hotstart.concurrency import settle_at_fork
from hotstart.locks import exclusive

logger = logging.getLogger("hotstart.cache")

_BUSY_SECONDS = 10.0
_DAMAGED = ("malformed", "not a database")  # SQLITE_CORRUPT, SQLITE_NOTADB; codes: Python 3.11


class Connections:
    """Lends connections to the database at `path`, laid out as it has to be."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._state = threading.Condition(threading.Lock())  # guards the next three
        self._idle: list[sqlite3.Connection] = []
        self._users = 0
        self._settling = False
        settle_at_fork(self)

    def __del__(self) -> None:
        """A cache that is dropped rather than closed leaves no connection open."""
        for connection in self._idle:
            connection.close()

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that nobody else has. What fails is not used again."""
        with self._using():
            with self._state:
                idle = self._idle
                connection = idle.pop() if idle else None
            if connection is None:
                connection = self._opened()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            with self._state:
                if idle is self._idle:
                    idle.append(connection)
                    return
            connection.close()  # all were closed meanwhile

    def recover(self, error: Exception) -> None:
        """Set the file aside where `error` says that it is damaged; the next call begins anew."""
        if not _tells_of_damage(error):
            return
        self.close()
        with self._using(), exclusive(f"{self.path}.lock"):
            if self._is_damaged():  # else another process was first
                aside = f"{self.path}.damaged-{time.time_ns()}"
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.path + suffix, aside + suffix)
                logger.warning("Cache %s: damaged, set aside as %s", self.path, aside)

    def close(self) -> None:
        """Close those that nobody has at this moment, and the others when they are given back."""
        with self._state:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def settle(self) -> None:
        """Have no connection before a fork: SQLite in the child would take its locks for its own.

        See "How To Corrupt An SQLite Database File", 2.6, in SQLite's documentation.
        """
        self._state.acquire()
        self._settling = True  # else users who follow one another closely leave no gap
        self._state.wait_for(lambda: not self._users)
        while self._idle:
            self._idle.pop().close()

    def resume(self) -> None:
        """Lend again."""
        self._settling = False
        self._state.notify_all()
        self._state.release()

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._state:
            self._state.wait_for(lambda: not self._settling)
            self._users += 1
        try:
            yield
        finally:
            with self._state:
                self._users -= 1
                self._state.notify_all()

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_damaged(self) -> bool:
        try:
            with contextlib.closing(self._opened()) as connection:
                return bool(connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok")
        except sqlite3.DatabaseError as error:
            return _tells_of_damage(error)


def _tells_of_damage(error: Exception) -> bool:
    return any(words in str(error) for words in _DAMAGED)
