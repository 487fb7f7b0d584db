"""Update an index: read, chunk, store and embed what changed.

Three phases, each in small commits: documents into the store, the lexical index after it, vectors
for the chunks that lack one. Killed at any moment, the next update goes on from the last commit.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hotstart.search.chunking import chunk
from hotstart.search.documents import (
    FileContent,
    FoundFile,
    SkippedFile,
    find_documents,
    read_document,
)
from hotstart.search.store import Store, StoredDocument

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.search.lexical import LexicalIndex
    from hotstart.search.store import Passage

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]
"""Called with the phase (`documents`, `lexical`, `vectors`), the steps done and their number."""

_DOCUMENTS_A_COMMIT = 50
_VECTORS_A_COMMIT = 256


@dataclass(frozen=True)
class UpdateReport:
    """What an update of an index did.

    Attributes:
        added: documents that were not there before, under that path.
        changed: documents whose content changed.
        removed: documents that are gone, under that path. A renamed one is added and removed.
        unchanged: documents whose content is as it was.
        passed_over: files that cannot be searched, counted by reason.
        chunks: chunks the index now has.
        embedded: vectors that were computed.
        seconds: how long it took.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    passed_over: dict[str, int]
    chunks: int
    embedded: int
    seconds: float


def update_index(
    root: str,
    store: Store,
    lexical: LexicalIndex,
    embedder: Embedder | None,
    on_progress: OnProgress | None = None,
) -> UpdateReport:
    """Bring `store` and `lexical` to what is below `root`. The caller holds the index's lock.

    Raises:
        HotstartError: the model could not be loaded; the documents are indexed all the same.
    """
    began = time.perf_counter()
    report = on_progress or _nobody
    # A store that lost its last commits in a crash of the machine would use their generations
    # again; a lexical index that still has them must not be taken for one of these.
    lexical.sync(store)
    scan = _Scan(root, store, report)
    scan.run()
    lexical.sync(store, lambda done, total: report("lexical", done, total))
    embedded = sum(_embed(store, one, report) for one in _with_fallbacks(embedder))
    result = UpdateReport(
        added=scan.counts["added"],
        changed=scan.counts["changed"],
        removed=scan.counts["removed"],
        unchanged=scan.counts["unchanged"],
        passed_over=dict(scan.passed_over),
        chunks=store.count_chunks(),
        embedded=embedded,
        seconds=time.perf_counter() - began,
    )
    logger.info("%s: %s", root, result)
    return result


class _Scan:
    """One pass over the files below `root`, after which `store` agrees with them."""

    def __init__(self, root: str, store: Store, report: OnProgress) -> None:
        self._root = root
        self._store = store
        self._report = report
        self._known = store.documents()
        self._gone: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()

    def run(self) -> None:
        """Bring the store up to date."""
        found = list(find_documents(self._root, self.passed_over))
        # What left its path was removed or renamed; which of them, its digest will tell.
        left = self._known.keys() - {file.path for file in found}
        self._gone = {self._known[path].sha256: path for path in sorted(left)}
        for start in range(0, len(found), _DOCUMENTS_A_COMMIT):
            self._report("documents", start, len(found))
            with self._store.transaction():
                for file in found[start : start + _DOCUMENTS_A_COMMIT]:
                    self._take(file)
        with self._store.transaction():
            for path in sorted(left & self._known.keys()):
                self._remove(path)
        self._report("documents", len(found), len(found))

    def _take(self, file: FoundFile) -> None:
        known = self._known.get(file.path)
        if known and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
            self.counts["unchanged"] += 1
            return
        content = self._read(file)
        if content is None:
            if known:
                self._remove(file.path)
            return
        document = StoredDocument(file.size, file.mtime_ns, content.sha256)
        if known and known.sha256 == content.sha256:
            self._store.restamp(file.path, document)
            self.counts["unchanged"] += 1
            return
        if not known and content.sha256 in self._gone:
            former = self._gone.pop(content.sha256)
            self._store.rename(former, file.path)
            del self._known[former]
            self.counts["removed"] += 1
        self._store.put(file.path, document, chunk(file.path, content.text))
        self.counts["changed" if known else "added"] += 1

    def _read(self, file: FoundFile) -> FileContent | None:
        """Return the content of `file`; None if it is gone or cannot be searched."""
        try:
            return read_document(os.path.join(self._root, file.path))
        except SkippedFile as verdict:
            self.passed_over[verdict.reason] += 1
        except FileNotFoundError:
            logger.info("%s went while it was being indexed", file.path)
        return None

    def _remove(self, path: str) -> None:
        self._store.remove(path)
        self.counts["removed"] += 1


def _with_fallbacks(embedder: Embedder | None) -> Iterator[Embedder]:
    """`embedder`, and before it what may answer in its place: the index holds the vectors of each,
    and those of the fallback also where the other fails."""
    if embedder:
        yield from _with_fallbacks(embedder.fallback)
        yield embedder


def _embed(store: Store, embedder: Embedder, report: OnProgress) -> int:
    """Compute and store the vectors that chunks lack; return how many. Loads no model for none."""
    fingerprint = embedder.fingerprint
    total = store.count_chunks() - store.count_vectors(fingerprint)
    done, last = 0, 0
    while batch := store.lacking_vector(fingerprint, after=last, limit=_VECTORS_A_COMMIT):
        report("vectors", done, total)
        texts = [_text_to_embed(passage) for passage in batch]
        vectors = embedder.encode_document(texts, normalize_embeddings=True).astype("<f4")
        rows = [(p.id, vector.tobytes()) for p, vector in zip(batch, vectors, strict=True)]
        store.put_vectors(fingerprint, rows)
        done, last = done + len(batch), batch[-1].id
    report("vectors", done, total)
    return done


def _text_to_embed(passage: Passage) -> str:
    """The heading says what the text is about where the text itself does not."""
    return f"{passage.heading}\n{passage.text}" if passage.heading else passage.text


def _nobody(phase: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""
