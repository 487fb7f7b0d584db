"""A byte store in one SQLite file, shared by processes; evicts the least recently used."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from hotstart.cache import CacheAddress
from hotstart.cache.store import LEASE, FailureLog, StoreInfo
from hotstart.concurrency import Condition, settle_at_fork
from hotstart.errors import InvalidInput
from hotstart.files import exclusive
from hotstart.sqlite import ForeignDatabase, migrate, transaction

_APPLICATION = 0x68637631  # "hcv1" in the file header identifies caches of hotstart

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {_APPLICATION}",
        # `used` is the minute of the last use; coarse, so that a hit rarely writes.
        """CREATE TABLE entries (
            key BLOB NOT NULL UNIQUE,
            value BLOB NOT NULL,
            used INTEGER NOT NULL)""",
        "CREATE INDEX entries_by_use ON entries (used)",
        # `until` is in seconds since 1970, the only clock that processes share.
        "CREATE TABLE leases (key BLOB PRIMARY KEY, owner TEXT NOT NULL, until REAL NOT NULL)",
    ),
)


logger = logging.getLogger("hotstart.cache")

_BUSY_SECONDS = 10.0
_DAMAGED = ("malformed", "not a database")  # SQLITE_CORRUPT, SQLITE_NOTADB; codes: Python 3.11


class Connections:
    """A pool of connections to the database at `path`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._state = Condition(threading.Lock())  # guards the next three attributes
        self._idle: list[sqlite3.Connection] = []
        self._users = 0
        self._settling = False
        settle_at_fork(self)

    def __del__(self) -> None:
        """Close the connections of a cache that was not closed."""
        for connection in self._idle:
            connection.close()

    @contextmanager
    def borrow(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection for exclusive use. A connection that fails is closed."""
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
            connection.close()  # all connections were closed meanwhile

    def recover(self, error: Exception) -> None:
        """Move the file aside if `error` means damage; the next call creates a new one."""
        if not _tells_of_damage(error):
            return
        self.close()
        with self._using(), exclusive(f"{self.path}.lock"):
            if self._is_damaged():  # otherwise another process moved it
                aside = f"{self.path}.damaged-{time.time_ns()}"
                for suffix in ("", "-wal", "-shm"):
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.path + suffix, aside + suffix)
                logger.warning("Cache %s: damaged, set aside as %s", self.path, aside)

    def close(self) -> None:
        """Close idle connections now, and borrowed ones when they are returned."""
        with self._state:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def settle(self) -> None:
        """Close all connections before a fork: a child must not inherit SQLite's locks.

        See "How To Corrupt An SQLite Database File", 2.6, in SQLite's documentation.
        """
        self._state.acquire()
        self._settling = True  # otherwise frequent users would never leave all connections idle
        self._state.wait_for(lambda: not self._users)
        while self._idle:
            self._idle.pop().close()

    def resume(self) -> None:
        """Lend connections again."""
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
            migrate(connection, _APPLICATION, MIGRATIONS)
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


T = TypeVar("T")

_A_STATEMENT = 500  # parameters that every SQLite build accepts
_RECENCY = 60.0  # seconds within which uses count once
_MOST_TOUCHED = 256  # uses recorded before they are written
_ROOM = 0.9  # share of the bound to evict down to, so that not every write evicts
_GIVEN_UP = 32  # entries evicted together
_LONGEST_LOOK = 0.05  # seconds between checks of another process's lease


class SqliteStore:
    """A byte store in the SQLite file of `address`.

    A damaged file is moved aside and a new one created: it contains derived data only.

    Raises:
        InvalidInput: the file is a database of another program, or its folder cannot be created.
    """

    def __init__(self, address: CacheAddress) -> None:
        path = os.path.abspath(os.path.expanduser(address.place.partition(":")[2]))
        self._connections = Connections(path)
        self._faults = FailureLog(path)
        self._most_bytes = address.max_bytes
        self._nonce = os.urandom(8).hex()
        self._touched: deque[bytes] = deque()
        self._evicted = 0
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with self._connections.borrow():
                pass
        except (ForeignDatabase, OSError) as error:
            raise InvalidInput("cache", got=path, expected=f"another file: {error}") from error
        except sqlite3.Error as error:  # a newer version's too: it can be done without
            self._fail("read", error)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of `keys` by key; absent keys are left out."""
        nothing: dict[bytes, bytes] = {}
        found = self._try("read", partial(self._read, keys), nothing)
        if len(self._touched) >= _MOST_TOUCHED:
            self._try("write", partial(self._write, {}), None)
        return found

    def set_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Store `entries`; evict the least recently used beyond the bound."""
        self._try("write", partial(self._write, entries), None)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        """Delete `keys`."""
        sql = "DELETE FROM entries WHERE key = ?"
        self._try("write", partial(_change, sql, [(key,) for key in keys]), None)

    def keys(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the keys that begin with `prefix`."""
        sql = "SELECT key FROM entries WHERE substr(key, 1, ?) = ? ORDER BY key"
        yield from (key for (key,) in self._ask(sql, (len(prefix), prefix), []))

    def claim(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Return those of `keys` that are now leased to this store object."""
        return self._try("claim", partial(self._claim, keys, seconds), {*keys})

    def release(self, keys: Collection[bytes]) -> None:
        """End this store object's leases on `keys`."""
        sql = "DELETE FROM leases WHERE key = ? AND owner = ?"
        owner = self._owner()
        self._try("release", partial(_change, sql, [(key, owner) for key in keys]), None)

    def wait(self, keys: Sequence[bytes], seconds: float) -> None:
        """Wait until the lease of one of `keys` ends, at most `seconds`.

        SQLite notifies no other process, so this polls the table at intervals from 1 to 50 ms.
        """
        deadline = time.monotonic() + seconds
        interval = 0.001
        while self._leased(keys) == len(keys) and time.monotonic() < deadline:
            time.sleep(interval)
            interval = min(_LONGEST_LOOK, 1.5 * interval)

    def info(self) -> StoreInfo:
        """Return the current counts; bytes are those of the used pages of the file."""
        ((entries,),) = self._ask("SELECT count(*) FROM entries", (), [(0,)])
        size = self._try("read", _bytes_used, 0)
        return StoreInfo(entries, size, self._evicted, self._faults.count)

    def close(self) -> None:
        """Write which entries were used, and close the file."""
        if self._touched:
            self._try("write", partial(self._write, {}), None)
        self._connections.close()

    def _owner(self) -> str:
        """Return the lease owner of this process; a forked child has its own."""
        return f"{self._nonce}-{os.getpid()}"

    def _read(self, keys: Sequence[bytes], connection: sqlite3.Connection) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        minute = _now()
        for some in _batches(keys):
            sql = f"SELECT key, value, used FROM entries WHERE key IN ({_marks(some)})"
            for key, value, used in connection.execute(sql, some):
                found[key] = value
                if used < minute:
                    self._touched.append(key)
        return found

    def _write(self, entries: Mapping[bytes, bytes], connection: sqlite3.Connection) -> None:
        """Write `entries` and the recorded uses."""
        minute = _now()
        with transaction(connection):
            sql = "UPDATE entries SET used = ? WHERE key = ?"
            connection.executemany(sql, [(minute, key) for key in self._take_touched()])
            sql = (
                "INSERT INTO entries VALUES (?, ?, ?) ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value, used = excluded.used"
            )
            connection.executemany(sql, [(key, raw, minute) for key, raw in entries.items()])
            self._make_room(connection)

    def _take_touched(self) -> set[bytes]:
        touched = set()
        while self._touched:
            try:
                touched.add(self._touched.popleft())
            except IndexError:  # another thread took the last use
                break
        return touched

    def _make_room(self, connection: sqlite3.Connection) -> None:
        """Evict the least recently used entries, a few at a time, until the bound is met."""
        if _bytes_used(connection) <= self._most_bytes:
            return
        oldest = f"SELECT rowid FROM entries ORDER BY used, rowid LIMIT {_GIVEN_UP}"
        while _bytes_used(connection) > _ROOM * self._most_bytes:
            gone = connection.execute(f"DELETE FROM entries WHERE rowid IN ({oldest})").rowcount
            if not gone:
                return  # the rest is overhead of the file
            self._evicted += gone

    def _claim(
        self, keys: Sequence[bytes], seconds: float, connection: sqlite3.Connection
    ) -> set[bytes]:
        granted = set()
        owner = self._owner()
        with transaction(connection):
            now = time.time()
            latest = now + max(seconds, LEASE)
            sql = "DELETE FROM leases WHERE until <= ? OR until > ?"
            connection.execute(sql, (now, latest))
            for key in keys:
                sql = (
                    "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (key)"
                    " DO UPDATE SET until = excluded.until WHERE owner = excluded.owner"
                )
                if connection.execute(sql, (key, owner, now + seconds)).rowcount:
                    granted.add(key)
        return granted

    def _leased(self, keys: Sequence[bytes]) -> int:
        count = 0
        for some in _batches(keys):
            sql = (
                "SELECT count(*) FROM leases"
                f" WHERE until > ? AND until <= ? AND key IN ({_marks(some)})"
            )
            now = time.time()
            count += self._ask(sql, (now, now + LEASE, *some), [(0,)])[0][0]
        return count

    def _ask(self, sql: str, values: Sequence[object], otherwise: list[Any]) -> list[Any]:
        return self._try("read", lambda c: c.execute(sql, values).fetchall(), otherwise)

    def _try(self, doing: str, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Return the result of `work`; count and log a failure of the file."""
        try:
            with self._connections.borrow() as connection:
                done = work(connection)
        except (sqlite3.Error, OSError) as error:
            self._fail(doing, error)
            return otherwise
        self._faults.end(doing)
        return done

    def _fail(self, doing: str, error: Exception) -> None:
        self._faults.begin(doing, error)
        self._connections.recover(error)


def _change(sql: str, rows: list[tuple[Any, ...]], connection: sqlite3.Connection) -> None:
    with transaction(connection):
        connection.executemany(sql, rows)


def _bytes_used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the used pages of the file, uncommitted changes included."""
    sql = (
        "SELECT (page_count - freelist_count) * page_size"
        " FROM pragma_page_count, pragma_freelist_count, pragma_page_size"
    )
    size: int = connection.execute(sql).fetchone()[0]
    return size


def _now() -> int:
    return int(time.time() / _RECENCY)


def _marks(values: Sequence[bytes]) -> str:
    return ",".join("?" * len(values))


def _batches(keys: Iterable[bytes]) -> Iterator[list[bytes]]:
    left = iter(keys)
    while some := list(islice(left, _A_STATEMENT)):
        yield some
