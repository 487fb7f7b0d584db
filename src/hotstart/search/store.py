"""The SQLite store of an index: documents, chunks, vectors.

All other files of an index are derived from this file. Every change is a transaction, so a killed
writer leaves the state before or after the change. It is one file because its migrations and its
statements name the same tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from hotstart.concurrency import settle_at_fork
from hotstart.errors import IndexBusy, IndexDamaged
from hotstart.search.activation import UseHistory, with_use
from hotstart.sqlite import NewerDatabase, migrate, transaction

if TYPE_CHECKING:
    from hotstart.search.chunking import Chunk

_APPLICATION = 0x686F7473  # "hots" in the file header identifies indexes of hotstart

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        f"PRAGMA application_id = {_APPLICATION}",
        # One row. `identity` distinguishes databases at one path; `generation` rises
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
        # AUTOINCREMENT never reuses the id of a removed chunk, so that an outdated lexical index
        # can name a removed chunk, but never a wrong one.
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
    (
        """CREATE TABLE uses (
            document_id INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE,
            latest BLOB NOT NULL,
            number INTEGER NOT NULL,
            first REAL NOT NULL)""",
        # The other end is a path, not an id: it may be indexed later, or again.
        """CREATE TABLE links (
            document_id INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
            linked TEXT NOT NULL,
            PRIMARY KEY (document_id, linked)) WITHOUT ROWID""",
        "CREATE INDEX links_to ON links (linked)",
        "ALTER TABLE vectors ADD COLUMN generation INTEGER NOT NULL DEFAULT 1",
        "CREATE INDEX vectors_by_generation ON vectors (fingerprint, generation)",
        # Counting rows takes as long as a search; "" counts the chunks, a fingerprint its vectors.
        "CREATE TABLE counts (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO counts SELECT '', count(*) FROM chunks",
        "INSERT INTO counts SELECT fingerprint, count(*) FROM vectors GROUP BY fingerprint",
        *(
            f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN"
            f" INSERT INTO counts VALUES ({name}, {change}) ON CONFLICT (name)"
            f" DO UPDATE SET number = number + {change}; END"
            for table, event, name, change in (
                ("chunks", "insert", "''", 1),
                ("chunks", "delete", "''", -1),
                ("vectors", "insert", "new.fingerprint", 1),
                ("vectors", "delete", "old.fingerprint", -1),
            )
        ),
    ),
    (
        "ALTER TABLE documents ADD COLUMN rules INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE chunks ADD COLUMN names TEXT NOT NULL DEFAULT ''",
    ),
)


_PATIENCE = 5.0  # seconds to wait for a transaction of another connection
_PAGE = 1000  # rows fetched at a time


class Database:
    """A connection to the database at `path`, created and migrated if needed.

    One thread at a time may use it. Any method may raise IndexDamaged, or IndexBusy if
    another process holds a transaction for seconds.

    Attributes:
        is_read_only: whether its folder cannot be written, as in an image or a ConfigMap.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.is_read_only = os.path.exists(path) and not os.access(os.path.dirname(path), os.W_OK)
        with self._translated_errors():
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        place = self._path
        if self.is_read_only:
            # WAL mode needs files beside the database. `immutable` needs none: nobody writes there.
            import pathlib  # 3 ms, and most indexes can be written

            place = f"{pathlib.Path(os.path.abspath(place)).as_uri()}?immutable=1"
        connection = sqlite3.connect(
            place,
            timeout=_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
            uri=self.is_read_only,
        )
        try:
            migrate(connection, _APPLICATION, MIGRATIONS)
            # In WAL mode, commits do not wait for the disk; a crash of the machine loses at most
            # the last commits.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block, or none if it raises."""
        with self._translated_errors(), transaction(self._connection):
            yield

    def run(self, sql: str, *values: object) -> list[Any]:
        """Execute one statement and return all of its rows."""
        with self._translated_errors():
            return self._connection.execute(sql, values).fetchall()

    def run_many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        """Execute one statement for each of `rows`."""
        with self._translated_errors():
            self._connection.executemany(sql, rows)

    def number(self, sql: str, *values: object) -> int:
        """Return the number that a statement yields."""
        number: int = self.run(sql, *values)[0][0]
        return number

    def each(self, sql: str, *values: object) -> Iterator[Any]:
        """Yield the rows of a large result without holding all of them."""
        with self._translated_errors():
            cursor = self._connection.execute(sql, values)
        while True:
            with self._translated_errors():
                rows = cursor.fetchmany(_PAGE)
            if not rows:
                return
            yield from rows

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:  # a programming error, not damage
            raise
        except sqlite3.OperationalError as error:
            reason = str(error)
            remedy = None
            if "locked" in reason:
                raise IndexBusy(os.path.dirname(os.path.dirname(self._path))) from error
            if "no such" not in reason:  # the disk is full, the folder may not be written, ...
                remedy = "Check the space and the permissions of its folder, then run this again"
            raise IndexDamaged(self._path, reason=reason, remedy=remedy) from error
        except NewerDatabase as error:
            remedy = "Upgrade hotstart: pip install -U hotstart"
            raise IndexDamaged(self._path, reason=str(error), remedy=remedy) from error
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(self._path, reason=str(error)) from error


_PASSAGES = (
    "SELECT chunks.id, path, heading, start_line, end_line, text, names"
    " FROM chunks JOIN documents ON documents.id = document_id"
)


_PLACES = _PASSAGES.replace("end_line, text", "end_line, ''")


class StoreState(NamedTuple):
    """The identity and the generations of a store.

    `identity` is random per file; each committed change of chunks increments `generation`, each
    change of vectors `vectors_generation`.
    """

    identity: str
    generation: int
    vectors_generation: int


class StoredDocument(NamedTuple):
    """The state of a file when it was read, and the number of the rules that cut it."""

    size: int
    mtime_ns: int
    sha256: str
    rules: int = 0


class Passage(NamedTuple):
    """A chunk and its file; `names` are the names that it defines, separated by spaces."""

    id: int
    path: str
    heading: str
    start_line: int
    end_line: int
    text: str
    names: str = ""


class Store:
    """The store at `path`, created if it is absent. A context manager.

    Attributes:
        folder: where the database lies, and beside it what is derived from it.

    Raises:
        IndexDamaged: from any method: the file belongs to another program, or cannot be used.
        IndexBusy: from any method: another process holds a transaction for seconds.
    """

    def __init__(self, path: str) -> None:
        self._database = Database(path)
        self._raised_to: int | None = None
        self.folder = os.path.dirname(path)

    @property
    def is_read_only(self) -> bool:
        """Whether its folder cannot be written."""
        return self._database.is_read_only

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Reading --------------------------------------------------------------------------

    def state(self) -> StoreState:
        """Return the current state."""
        sql = "SELECT identity, generation, vectors_generation FROM meta"
        [(identity, generation, vectors_generation)] = self._database.run(sql)
        return StoreState(identity, generation, vectors_generation)

    def documents(self, paths: Sequence[str] | None = None) -> dict[str, StoredDocument]:
        """Return the documents `paths`, by default every one, by their paths."""
        sql = "SELECT path, size, mtime_ns, sha256, rules FROM documents"
        if paths is None:
            rows = self._database.run(sql)
        else:
            sql += " WHERE path IN (SELECT value FROM json_each(?))"
            rows = self._database.run(sql, json.dumps(list(paths)))
        return {path: StoredDocument(*rest) for path, *rest in rows}

    def count_chunks(self, *, after: int = 0) -> int:
        """Return the number of chunks that `chunks_after` yields; by default of all chunks."""
        if after == 0:
            return self._database.number("SELECT number FROM counts WHERE name = ''")
        return self._database.number("SELECT count(*) FROM chunks WHERE generation > ?", after)

    def chunks_after(self, generation: int) -> Iterator[Passage]:
        """Yield the chunks added or renamed after `generation`."""
        sql = _PASSAGES + " WHERE generation > ?"
        yield from map(Passage._make, self._database.each(sql, generation))

    def beginning(self, path: str, count: int = 4) -> str:
        """Return the text of the first `count` chunks of `path`."""
        sql = (
            "SELECT text FROM chunks WHERE document_id = (SELECT id FROM documents WHERE path = ?)"
            " ORDER BY position LIMIT ?"
        )
        return "\n".join(text for (text,) in self._database.run(sql, path, count))

    def removed_after(self, generation: int) -> list[int]:
        """Return the ids of the chunks removed after `generation`."""
        sql = "SELECT chunk_id FROM tombstones WHERE generation > ?"
        return [chunk_id for (chunk_id,) in self._database.run(sql, generation)]

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Return the chunks with these `ids` that still exist, without their text."""
        sql = _PLACES + " WHERE chunks.id IN (SELECT value FROM json_each(?))"
        return {row[0]: Passage(*row) for row in self._database.run(sql, json.dumps(list(ids)))}

    def texts(self, ids: Sequence[int]) -> dict[int, str]:
        """Return the texts of the chunks with these `ids` that still exist."""
        sql = "SELECT id, text FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._database.run(sql, json.dumps(list(ids))))

    def paths(self) -> dict[int, str]:
        """Return the path of each document by its id."""
        return dict(self._database.run("SELECT id, path FROM documents"))

    def documents_of(self, ids: Sequence[int]) -> dict[int, int]:
        """Return the id of the document of each of the chunks `ids` that still exist."""
        sql = "SELECT id, document_id FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._database.run(sql, json.dumps(list(ids))))

    def chunks_of(self, documents: Sequence[int]) -> list[int]:
        """Return the ids of the chunks of the documents with these ids, in order."""
        sql = (
            "SELECT id FROM chunks WHERE document_id IN (SELECT value FROM json_each(?))"
            " ORDER BY document_id, position"
        )
        return [one for (one,) in self._database.run(sql, json.dumps(list(documents)))]

    def each_text(self, literal: str = "") -> Iterator[tuple[int, str]]:
        """Yield id and text of the chunks that hold `literal`."""
        yield from self._database.each("SELECT id, text FROM chunks WHERE instr(text, ?)", literal)

    # Changes, within a transaction ----------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all changes of the block, or none if it raises."""
        self._raised_to = None
        with self._database.transaction():
            yield

    def put(self, path: str, document: StoredDocument, chunks: Sequence[Chunk]) -> None:
        """Replace the chunks of `path`. Unchanged chunks keep their ids and vectors."""
        document_id = self._database.number(
            "INSERT INTO documents (path, size, mtime_ns, sha256, rules) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET size = excluded.size, rules = excluded.rules,"
            " mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256 RETURNING id",
            path,
            *document,
        )
        known: dict[tuple[str, str], list[tuple[int, str]]] = {}
        sql = "SELECT heading, text, id, names FROM chunks WHERE document_id = ?"
        for heading, text, *rest in self._database.run(
            f"{sql} ORDER BY position DESC", document_id
        ):
            known.setdefault((heading, text), []).append((rest[0], rest[1]))
        for position, chunk in enumerate(chunks):
            place = (position, chunk.start_line, chunk.end_line)
            same = known.get((chunk.heading, chunk.text))
            if same:
                chunk_id, names = same.pop()
                sql = "UPDATE chunks SET position = ?, start_line = ?, end_line = ? WHERE id = ?"
                self._database.run(sql, *place, chunk_id)
                if names != " ".join(chunk.names):
                    self._rename_defined(chunk_id, chunk)
            else:
                self._insert(document_id, place, chunk)
        self._bury([chunk_id for same in known.values() for chunk_id, _ in same])

    def restamp(self, path: str, document: StoredDocument) -> None:
        """Record that `path` was touched without a change of content."""
        sql = "UPDATE documents SET size = ?, mtime_ns = ? WHERE path = ?"
        self._database.run(sql, document.size, document.mtime_ns, path)

    def rename(self, path: str, new: str) -> None:
        """Rename the document `path` to `new`; its chunks keep their ids and vectors."""
        of_document = "document_id = (SELECT id FROM documents WHERE path = ?)"
        sql = f"UPDATE chunks SET generation = ? WHERE {of_document}"
        self._database.run(sql, self._next_generation(), path)
        self._database.run("UPDATE documents SET path = ? WHERE path = ?", new, path)

    def remove(self, path: str) -> None:
        """Remove the document `path`, its chunks and their vectors."""
        of_document = "document_id = (SELECT id FROM documents WHERE path = ?)"
        rows = self._database.run(f"SELECT id FROM chunks WHERE {of_document}", path)
        self._bury([chunk_id for (chunk_id,) in rows])
        self._database.run("DELETE FROM documents WHERE path = ?", path)

    def _rename_defined(self, chunk_id: int, chunk: Chunk) -> None:
        """Record the names that a known chunk defines."""
        sql = "UPDATE chunks SET names = ?, generation = ? WHERE id = ?"
        self._database.run(sql, " ".join(chunk.names), self._next_generation(), chunk_id)

    def overwrite_removed(self) -> None:
        """Rewrite the files of the database, so that they hold no byte of what was removed."""
        self._database.run("VACUUM")
        self._database.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def _insert(self, document_id: int, place: tuple[int, int, int], chunk: Chunk) -> None:
        self._database.run(
            "INSERT INTO chunks (document_id, position, start_line, end_line, heading, text,"
            " names, generation) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            document_id,
            *place,
            chunk.heading,
            chunk.text,
            " ".join(chunk.names),
            self._next_generation(),
        )

    def _bury(self, ids: list[int]) -> None:
        """Remove the chunks `ids` and their vectors, and record the removal."""
        if not ids:
            return
        generation = self._next_generation()
        self._database.run_many("DELETE FROM chunks WHERE id = ?", [(one,) for one in ids])
        self._database.run_many(
            "INSERT INTO tombstones VALUES (?, ?)", [(one, generation) for one in ids]
        )

    def _next_generation(self) -> int:
        """Return the generation of the transaction; its first change of chunks increments it."""
        if self._raised_to is None:
            sql = "UPDATE meta SET generation = generation + 1 RETURNING generation"
            self._raised_to = self._database.number(sql)
        return self._raised_to

    # UseHistory and links -------------------------------------------------------------------------

    def uses(self) -> dict[str, UseHistory]:
        """Return the history of each document that has one, by its path."""
        rows = self._database.run(
            "SELECT path, latest, number, first FROM uses JOIN documents ON id = document_id"
        )
        return {
            path: UseHistory(_times(latest), number, first) for path, latest, number, first in rows
        }

    def use(self, path: str, time: float) -> bool:
        """Record a use of `path` at `time`, within a transaction; return whether it is indexed."""
        rows = self._database.run(
            "SELECT id, latest, number, first FROM documents"
            " LEFT JOIN uses ON document_id = id WHERE path = ?",
            path,
        )
        if not rows:
            return False
        [(document_id, latest, number, first)] = rows
        uses = with_use(UseHistory(_times(latest), number, first) if number else None, time)
        self._database.run(
            "INSERT OR REPLACE INTO uses VALUES (?, ?, ?, ?)",
            document_id,
            struct.pack(f"<{len(uses.latest)}d", *uses.latest),
            uses.number,
            uses.first,
        )
        return True

    def links(self, paths: Iterable[str]) -> list[tuple[str, str]]:
        """Return the pairs of linked documents of which `paths` holds one."""
        ends = json.dumps(list(paths))
        sql = (
            "SELECT path, linked FROM links JOIN documents ON id = document_id WHERE {} IN"
            " (SELECT value FROM json_each(?))"
        )
        pairs = [*self._database.run(sql.format("path"), ends)]
        pairs += self._database.run(sql.format("linked"), ends)
        return list(dict.fromkeys(pairs))

    def put_links(self, path: str, linked: Iterable[str]) -> None:
        """Replace the links of `path`, within a transaction."""
        [(document_id,)] = self._database.run("SELECT id FROM documents WHERE path = ?", path)
        self._database.run("DELETE FROM links WHERE document_id = ?", document_id)
        rows: list[tuple[object, ...]] = [(document_id, other) for other in dict.fromkeys(linked)]
        self._database.run_many("INSERT INTO links VALUES (?, ?)", rows)

    # Vectors --------------------------------------------------------------------------------

    def has_vectors(self) -> bool:
        """Return whether there is a vector of any vector space."""
        sql = "SELECT EXISTS (SELECT 1 FROM counts WHERE name <> '' AND number > 0)"
        return bool(self._database.number(sql))

    def vector_spaces(self) -> dict[str, int]:
        """Return the number of vectors of each vector space, by its fingerprint."""
        sql = "SELECT name, number FROM counts WHERE name <> '' AND number > 0"
        return dict(self._database.run(sql))

    def count_vectors(self, fingerprint: str, *, after: int = 0) -> int:
        """Return the number of vectors of one space, of generations after `after`."""
        if after == 0:
            sql = "SELECT coalesce(max(number), 0) FROM counts WHERE name = ?"
            return self._database.number(sql, fingerprint)
        sql = "SELECT count(*) FROM vectors WHERE fingerprint = ? AND generation > ?"
        return self._database.number(sql, fingerprint, after)

    def vectors(self, fingerprint: str, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield each vector of one space with the id of its chunk, of generations after `after`."""
        sql = "SELECT chunk_id, vector FROM vectors WHERE fingerprint = ? AND generation > ?"
        yield from self._database.each(sql, fingerprint, after)

    def vectors_of(self, fingerprint: str, ids: Iterable[int]) -> dict[int, bytes]:
        """Return the vectors of the chunks `ids` that have one, by the id of the chunk."""
        sql = (
            "SELECT chunk_id, vector FROM vectors WHERE fingerprint = ?"
            " AND chunk_id IN (SELECT value FROM json_each(?))"
        )
        return dict(self._database.run(sql, fingerprint, json.dumps(list(ids))))

    def lacking_vector(self, fingerprint: str, *, after: int, limit: int) -> list[Passage]:
        """Return the first `limit` chunks with an id above `after` that lack a vector."""
        sql = _PASSAGES + (
            " LEFT JOIN vectors ON chunk_id = chunks.id AND fingerprint = ?"
            " WHERE chunk_id IS NULL AND chunks.id > ? ORDER BY chunks.id LIMIT ?"
        )
        return [Passage(*row) for row in self._database.run(sql, fingerprint, after, limit)]

    def put_vectors(self, fingerprint: str, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Store `vectors` (chunk id, unit vector as little-endian float32) in one transaction."""
        with self._database.transaction():
            sql = "UPDATE meta SET vectors_generation = vectors_generation + 1"
            generation = self._database.number(f"{sql} RETURNING vectors_generation")
            rows: list[tuple[object, ...]] = [
                (one, fingerprint, vector, generation) for one, vector in vectors
            ]
            self._database.run_many("INSERT INTO vectors VALUES (?, ?, ?, ?)", rows)


def _times(latest: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(latest) // 8}d", latest)


class StorePool:
    """Stores at `path` that stay open between searches; each is lent to one thread at a time.

    To open and close one takes as long as a search by words.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._idle: list[Store] = []
        self._file: tuple[object, ...] = ()
        settle_at_fork(self)

    def __del__(self) -> None:
        """Close what nobody will borrow again."""
        self._close_idle()

    @contextmanager
    def borrow(self) -> Iterator[Store]:
        """Yield a store. One whose file was replaced, or that fails, is closed."""
        file = _identity(self._path)
        with self._lock:
            if file != self._file:
                self._close_idle()
                self._file = file
            store = self._idle.pop() if self._idle else None
        store = store or Store(self._path)
        try:
            yield store
        except BaseException:
            store.close()
            raise
        with self._lock:
            if file and file == self._file:  # otherwise it was made or replaced meanwhile
                self._idle.append(store)
                return
        store.close()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def settle(self) -> None:
        """Close idle stores before a fork: a child must not inherit SQLite's locks."""
        self._lock.acquire()
        self._close_idle()

    def resume(self) -> None:
        """Lend stores again."""
        self._lock.release()


def _identity(path: str) -> tuple[object, ...]:
    """Return what changes where the file `path` is replaced, damaged or may no longer be written.

    Commits do not change it: they go into the write-ahead log.
    """
    try:
        status = os.stat(path)
    except OSError:
        return ()
    is_writable = os.access(os.path.dirname(path), os.W_OK)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, is_writable)
