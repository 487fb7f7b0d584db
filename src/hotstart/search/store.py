"""The truth of an index: one SQLite file with the documents, their chunks and the vectors.

Whatever else an index has is derived from this file and can be made again. Every change is a
transaction, so a writer that is killed leaves the state before it or the state after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from hotstart.search.database import Database

if TYPE_CHECKING:
    from hotstart.search.chunking import Chunk

_PASSAGES = (
    "SELECT chunks.id, path, heading, start_line, end_line, text"
    " FROM chunks JOIN documents ON documents.id = document_id"
)


class State(NamedTuple):
    """What tells one content of a store from another.

    `identity` is drawn when the file is made; `generation` rises with each committed change of
    chunks, `vectors_generation` with each of vectors.
    """

    identity: str
    generation: int
    vectors_generation: int


class Document(NamedTuple):
    """A file as it was when it was read: its stamps and the digest of its bytes."""

    size: int
    mtime_ns: int
    sha256: str


class Passage(NamedTuple):
    """A chunk, and the file it is of."""

    id: int
    path: str
    heading: str
    start_line: int
    end_line: int
    text: str


class Store:
    """The store at `path`, made where it is not there. A context manager.

    Raises:
        IndexDamaged: from any method: the file is not ours, or cannot be read or written.
        IndexBusy: from any method: another process holds a transaction for seconds.
    """

    def __init__(self, path: str) -> None:
        self._database = Database(path)
        self._raised_to: int | None = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    # What is there --------------------------------------------------------------------------

    def state(self) -> State:
        """Return the state of this moment."""
        sql = "SELECT identity, generation, vectors_generation FROM meta"
        return State(*self._database.run(sql)[0])

    def documents(self) -> dict[str, Document]:
        """Return every document by its path."""
        rows = self._database.run("SELECT path, size, mtime_ns, sha256 FROM documents")
        return {path: Document(*rest) for path, *rest in rows}

    def count_chunks(self, *, after: int = 0) -> int:
        """Return the number of chunks that `chunks_after` yields; by default of all chunks."""
        return self._database.number("SELECT count(*) FROM chunks WHERE generation > ?", after)

    def chunks_after(self, generation: int) -> Iterator[Passage]:
        """Yield the chunks that came, or whose file was renamed, after `generation`."""
        sql = _PASSAGES + " WHERE generation > ?"
        yield from map(Passage._make, self._database.each(sql, generation))

    def removed_after(self, generation: int) -> list[int]:
        """Return the ids of the chunks that went after `generation`."""
        sql = "SELECT chunk_id FROM tombstones WHERE generation > ?"
        return [chunk_id for (chunk_id,) in self._database.run(sql, generation)]

    def passages(self, ids: Sequence[int]) -> dict[int, Passage]:
        """Return the chunks with these `ids`, without those that are gone."""
        sql = _PASSAGES + " WHERE chunks.id IN (SELECT value FROM json_each(?))"
        return {row[0]: Passage(*row) for row in self._database.run(sql, json.dumps(list(ids)))}

    # Changes, within a transaction ----------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit the changes of the block at its end, as one; none of them where it raises."""
        self._raised_to = None
        with self._database.transaction():
            yield

    def put(self, path: str, document: Document, chunks: Sequence[Chunk]) -> None:
        """Have `path` consist of `chunks`. Those it had already keep their ids and vectors."""
        document_id = self._database.number(
            "INSERT INTO documents (path, size, mtime_ns, sha256) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (path) DO UPDATE SET size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256 RETURNING id",
            path,
            *document,
        )
        known: dict[tuple[str, str], list[int]] = {}
        sql = "SELECT heading, text, id FROM chunks WHERE document_id = ? ORDER BY position DESC"
        for heading, text, chunk_id in self._database.run(sql, document_id):
            known.setdefault((heading, text), []).append(chunk_id)
        for position, chunk in enumerate(chunks):
            place = (position, chunk.start_line, chunk.end_line)
            same = known.get((chunk.heading, chunk.text))
            if same:
                sql = "UPDATE chunks SET position = ?, start_line = ?, end_line = ? WHERE id = ?"
                self._database.run(sql, *place, same.pop())
            else:
                self._insert(document_id, place, chunk)
        self._bury([chunk_id for ids in known.values() for chunk_id in ids])

    def restamp(self, path: str, document: Document) -> None:
        """Note that `path` was touched without being changed."""
        sql = "UPDATE documents SET size = ?, mtime_ns = ? WHERE path = ?"
        self._database.run(sql, document.size, document.mtime_ns, path)

    def rename(self, path: str, new: str) -> None:
        """Have the document `path` be called `new`; its chunks keep their ids and vectors."""
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

    def _insert(self, document_id: int, place: tuple[int, int, int], chunk: Chunk) -> None:
        self._database.run(
            "INSERT INTO chunks (document_id, position, start_line, end_line, heading, text,"
            " generation) VALUES (?, ?, ?, ?, ?, ?, ?)",
            document_id,
            *place,
            chunk.heading,
            chunk.text,
            self._next_generation(),
        )

    def _bury(self, ids: list[int]) -> None:
        """Remove the chunks `ids` and their vectors, and note that they went."""
        if not ids:
            return
        generation = self._next_generation()
        self._database.run_many("DELETE FROM chunks WHERE id = ?", [(one,) for one in ids])
        self._database.run_many(
            "INSERT INTO tombstones VALUES (?, ?)", [(one, generation) for one in ids]
        )

    def _next_generation(self) -> int:
        """The generation of the transaction under way, raised by its first change of chunks."""
        if self._raised_to is None:
            sql = "UPDATE meta SET generation = generation + 1 RETURNING generation"
            self._raised_to = self._database.number(sql)
        return self._raised_to

    # Vectors --------------------------------------------------------------------------------

    def has_vectors(self) -> bool:
        """Return whether there is a vector, of whatever vector space."""
        return bool(self._database.number("SELECT EXISTS (SELECT 1 FROM vectors)"))

    def count_vectors(self, fingerprint: str) -> int:
        """Return the number of vectors of one vector space."""
        sql = "SELECT count(*) FROM vectors WHERE fingerprint = ?"
        return self._database.number(sql, fingerprint)

    def vectors(self, fingerprint: str) -> Iterator[tuple[int, bytes]]:
        """Yield each vector of one vector space with the id of its chunk."""
        sql = "SELECT chunk_id, vector FROM vectors WHERE fingerprint = ?"
        yield from self._database.each(sql, fingerprint)

    def lacking_vector(self, fingerprint: str, *, after: int, limit: int) -> list[Passage]:
        """Return the first `limit` chunks with an id above `after` that have no such vector."""
        sql = _PASSAGES + (
            " LEFT JOIN vectors ON chunk_id = chunks.id AND fingerprint = ?"
            " WHERE chunk_id IS NULL AND chunks.id > ? ORDER BY chunks.id LIMIT ?"
        )
        return [Passage(*row) for row in self._database.run(sql, fingerprint, after, limit)]

    def put_vectors(self, fingerprint: str, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Store `vectors`, chunk id and unit vector as little-endian float32; a transaction."""
        rows: list[tuple[object, ...]] = [(one, fingerprint, vector) for one, vector in vectors]
        with self._database.transaction():
            self._database.run_many("INSERT INTO vectors VALUES (?, ?, ?)", rows)
            self._database.run("UPDATE meta SET vectors_generation = vectors_generation + 1")
