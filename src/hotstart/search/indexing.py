"""Update an index: read, chunk, store and embed what changed.

Three phases in small commits: documents into the store, then the lexical index, then vectors of the
chunks that lack one. After a kill, the next update continues from the last commit.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hotstart.search.chunking import chunk, rules_for
from hotstart.search.documents import (
    FileContent,
    FileSelection,
    FoundFile,
    Skipped,
    find_documents,
    read_document,
)
from hotstart.search.links import FileNames, targets_of
from hotstart.search.store import Store, StoredDocument
from hotstart.search.text import SkippedFile
from hotstart.search.vectors import rewrite_vectors, sync_vectors

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.search.lexical import LexicalIndex
    from hotstart.search.store import Passage

logger = logging.getLogger(__name__)

OnProgress = Callable[[str, int, int], None]
"""Called with the phase (`documents`, `lexical`, `vectors`), the steps done and their number."""

_DOCUMENTS_A_COMMIT = 50
_MOST_EDITED = 50  # documents changed at once: more are a checkout, which says nothing of use
_VECTORS_A_READ = 256
_VECTORS_A_COMMIT = 16  # less than a second of work, so that progress moves and Ctrl-C loses little


@dataclass(frozen=True)
class UpdateReport:
    """The result of an update.

    Attributes:
        added: documents under a new path.
        changed: documents with changed content, or cut again by the rules of this version.
        removed: documents whose path is gone. A renamed document is added and removed.
        unchanged: documents with unchanged content.
        kept: documents that cannot be read at the moment; the index has them as they were.
        skipped: what is passed over, counted by reason.
        skipped_files: the reason by path; that of a folder ends in a slash.
        chunks: chunks of the index.
        embedded: computed vectors.
        unread_share: the share of the tokens of these chunks that no vector covers, because the
            model reads less of a chunk.
        seconds: duration of the update.
    """

    added: int
    changed: int
    removed: int
    unchanged: int
    kept: int
    skipped: dict[str, int]
    skipped_files: Mapping[str, str] = field(repr=False)
    chunks: int
    embedded: int
    unread_share: float
    seconds: float


@dataclass(frozen=True)
class PendingChanges:
    """What an update would find: documents added, changed and removed since the last one."""

    added: int
    changed: int
    removed: int


@dataclass(frozen=True)
class IndexStatus:
    """What an index holds, and what changed since.

    Attributes:
        folders: the indexed folders.
        home: the folder of the index.
        documents: indexed files.
        chunks: their chunks.
        vectors: the number of vectors of each vector space, by its fingerprint.
        size: bytes of the index.
        changed_at: when the index was changed last, in seconds since the epoch.
        pending: what an update would find.
    """

    folders: tuple[str, ...]
    home: str
    documents: int
    chunks: int
    vectors: dict[str, int]
    size: int
    changed_at: float
    pending: PendingChanges


def update_index(
    root: str,
    store: Store,
    lexical: LexicalIndex,
    embedder: Embedder | None,
    on_progress: OnProgress | None = None,
    selections: Sequence[FileSelection] = (),
) -> UpdateReport:
    """Update `store` and `lexical` with the files of `selections`, by default all of `root`.

    The caller holds the index lock.

    Raises:
        HotstartError: the model could not be loaded; the documents are indexed nevertheless.
    """
    began = time.perf_counter()
    report = on_progress or _no_report
    # After a crash of the machine, the store may have lost its last commits and reuse their
    # generations; a lexical index that has the lost commits must not match.
    lexical.sync(store)
    scan = _Scan(root, store, report, selections or (FileSelection(root),))
    scan.run()
    lexical.sync(store, lambda done, total: report("lexical", done, total))
    tokens = _TokenCount()
    embedded = sum(_embed(store, one, report, tokens) for one in _with_fallbacks(embedder))
    result = UpdateReport(
        added=scan.counts["added"],
        changed=scan.counts["changed"],
        removed=scan.counts["removed"],
        unchanged=scan.counts["unchanged"],
        kept=scan.counts["kept"],
        skipped=dict(Counter(scan.skipped.values())),
        skipped_files=dict(scan.skipped),
        chunks=store.count_chunks(),
        embedded=embedded,
        unread_share=tokens.unread_share,
        seconds=time.perf_counter() - began,
    )
    logger.info("%s: %s", root, result)
    return result


def pending_changes(root: str, store: Store, selections: Sequence[FileSelection]) -> PendingChanges:
    """Return how the files of `selections` differ from `store`, which stays as it is."""
    return _Scan(root, store, _no_report, selections).compare()


def forget_documents(paths: Sequence[str], store: Store, lexical: LexicalIndex) -> int:
    """Remove the documents `paths`, and those below them, from `store` and `lexical`.

    All go in one transaction, and no file of the index keeps a byte of them. Return their number.
    The caller holds the index lock.
    """
    folders = tuple(f"{path}/" if path else "" for path in paths)
    known = [each for each in store.documents() if each in paths or each.startswith(folders)]
    with store.transaction():
        for path in known:
            store.remove(path)
    if known:
        store.overwrite_removed()
        lexical.rebuild(store)
        rewrite_vectors(store)
    return len(known)


class _Scan:
    """One pass over the files below `root` that updates `store`."""

    def __init__(
        self, root: str, store: Store, report: OnProgress, selections: Sequence[FileSelection]
    ) -> None:
        self._root = root
        self._selections = selections
        self._store = store
        self._report = report
        self._known = store.documents()
        self._gone: dict[str, str] = {}
        self._names = FileNames(())
        self._edited: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.skipped: Skipped = {}

    def run(self) -> None:
        """Update the store."""
        found, left = self._found()
        self._names = FileNames(file.path for file in found)
        # A missing path was removed or renamed; the digest tells which.
        self._gone = {self._known[path].sha256: path for path in sorted(left)}
        for start in range(0, len(found), _DOCUMENTS_A_COMMIT):
            self._report("documents", start, len(found))
            with self._store.transaction():
                for file in found[start : start + _DOCUMENTS_A_COMMIT]:
                    self._take(file)
        with self._store.transaction():
            for path in sorted(left & self._known.keys()):
                self._remove(path)
            if len(self._edited) <= _MOST_EDITED:
                for path, when in self._edited.items():
                    self._store.use(path, min(when, time.time()))
        self._report("documents", len(found), len(found))

    def compare(self) -> PendingChanges:
        """Count what `run` would change."""
        found, left = self._found()
        counts = Counter({"removed": len(left)})
        for file in found:
            known = self._known.get(file.path)
            if known and (known.size, known.mtime_ns) == (file.size, file.mtime_ns):
                continue
            content = self._read(file)
            if content is not None and not known:
                counts["added"] += 1
            elif content is not None and known and content.sha256 != known.sha256:
                counts["changed"] += 1
            elif content is None and known and self.skipped.get(file.path) != "unreadable":
                counts["removed"] += 1
        return PendingChanges(counts["added"], counts["changed"], counts["removed"])

    def _found(self) -> tuple[list[FoundFile], set[str]]:
        """Return the files of the selections, and the known paths that are no longer there."""
        found = [file for selection in self._selections for file in self._find(selection)]
        left = self._known.keys() - {file.path for file in found}
        return found, left - self._unreadable(left)

    def _find(self, selection: FileSelection) -> Iterator[FoundFile]:
        """Yield the files of `selection` by their paths below the root of the index."""
        skipped: Skipped = {}
        below = os.path.relpath(selection.root, self._root).replace(os.sep, "/")
        prefix = "" if below == os.curdir else f"{below}/"
        for file in find_documents(selection.root, skipped, selection):
            yield file._replace(path=prefix + file.path)
        for path, reason in skipped.items():  # "./" is the folder itself
            self.skipped[prefix + path.removeprefix("./") or path] = reason

    def _unreadable(self, left: set[str]) -> set[str]:
        """Return those of `left` that cannot be listed now: nobody knows whether they went."""
        shut = {path for path, reason in self.skipped.items() if reason == "unreadable"}
        folders = tuple(path.removeprefix("./") for path in shut if path.endswith("/"))
        kept = {path for path in left if path in shut or path.startswith(folders)}
        self.counts["kept"] += len(kept)
        return kept

    def _take(self, file: FoundFile) -> None:
        known = self._known.get(file.path)
        rules = rules_for(file.path)
        current = known if known and known.rules >= rules else None
        if current and (current.size, current.mtime_ns) == (file.size, file.mtime_ns):
            self.counts["unchanged"] += 1
            return
        content = self._read(file)
        if content is None:
            if known and self.skipped.get(file.path) == "unreadable":
                self.counts["kept"] += 1
            elif known:
                self._remove(file.path)
            return
        document = StoredDocument(file.size, file.mtime_ns, content.sha256, rules)
        if current and current.sha256 == content.sha256:
            self._store.restamp(file.path, document)
            self.counts["unchanged"] += 1
            return
        if not known and content.sha256 in self._gone:
            former = self._gone.pop(content.sha256)
            self._store.rename(former, file.path)
            del self._known[former]
            self.counts["removed"] += 1
        self._store.put(file.path, document, chunk(file.path, content.text))
        targets = targets_of(file.path, content.text)
        linked = (self._names.find(file.path, target) for target in targets)
        self._store.put_links(file.path, filter(None, linked))
        if known:
            self._edited[file.path] = file.mtime_ns / 1e9
        self.counts["changed" if known else "added"] += 1

    def _read(self, file: FoundFile) -> FileContent | None:
        """Return the content of `file`; None if it is gone or cannot be searched."""
        try:
            path = os.path.join(self._root, file.path)
            return read_document(path, is_named=file.is_named)
        except SkippedFile as verdict:
            self.skipped[file.path] = verdict.reason
        except FileNotFoundError:
            logger.info("%s went while it was being indexed", file.path)
        return None

    def _remove(self, path: str) -> None:
        self._store.remove(path)
        self.counts["removed"] += 1


def _with_fallbacks(embedder: Embedder | None) -> Iterator[Embedder]:
    """Return the fallbacks of `embedder`, then `embedder`: the index stores vectors of each, so
    that the fallback can answer if the model fails."""
    if embedder:
        yield from _with_fallbacks(embedder.fallback)
        yield embedder


class _TokenCount:
    """The tokens of the embedded texts, and those among them that the models did not read."""

    def __init__(self) -> None:
        self.read = 0
        self.unread = 0

    def add(self, texts: Sequence[str], read: int | None, embedder: Embedder) -> None:
        """Count the tokens of `texts`, of which the model read `read`."""
        if read is None:
            return
        self.read += read
        limit = embedder.max_seq_length
        long = [text for text in texts if limit and len(text) > limit]  # a token is a character
        if long:
            pieces = [piece for text in long for piece in _PIECE.findall(text)]
            special = embedder.count_tokens([""]) or 0
            whole = (embedder.count_tokens(pieces) or 0) - special * (len(pieces) - len(long))
            self.unread += max(0, whole - (embedder.count_tokens(long) or 0))

    @property
    def unread_share(self) -> float:
        """The share of the tokens that is in no vector."""
        return self.unread / max(1, self.read + self.unread)


_PIECE = re.compile(r"(?s).{1,200}(?:\s|$)|.{1,200}")  # fewer tokens than any model reads


def _embed(store: Store, embedder: Embedder, report: OnProgress, tokens: _TokenCount) -> int:
    """Compute and store missing vectors; return their number. Load no model if none is missing.

    Vectors that may be compared are stored under one fingerprint, that of float32.
    """
    space = embedder.comparable_with or embedder.fingerprint
    total = store.count_chunks() - store.count_vectors(space)
    done = 0
    last = 0
    while read := store.lacking_vector(space, after=last, limit=_VECTORS_A_READ):
        last = read[-1].id
        read.sort(key=lambda passage: len(passage.text))  # equal lengths need no padding
        for batch in _cut(read, _VECTORS_A_COMMIT):
            report("vectors", done, total)
            computed = _embed_batch(store, embedder, batch, tokens)
            done += len(batch)
            if computed != space:  # the model was replaced: begin again with its new space
                space = computed
                total = done + store.count_chunks() - store.count_vectors(space)
                last = 0
                break
    report("vectors", done, total)
    sync_vectors(store, space)
    return done


def _cut(passages: list[Passage], size: int) -> Iterator[list[Passage]]:
    """Yield `passages` in lists of up to `size`."""
    for start in range(0, len(passages), size):
        yield passages[start : start + size]


def _embed_batch(
    store: Store, embedder: Embedder, batch: list[Passage], tokens: _TokenCount
) -> str:
    """Compute and store the vectors of `batch`; return their space."""
    texts = [_text_to_embed(passage) for passage in batch]
    result = embedder.embed(texts, prompt_name="document", normalize_embeddings=True)
    tokens.add(texts, result.tokens, embedder)
    vectors = result.vectors.astype("<f4")
    rows = [(p.id, vector.tobytes()) for p, vector in zip(batch, vectors, strict=True)]
    computed = result.comparable_with or result.fingerprint
    store.put_vectors(computed, rows)
    return computed


def _text_to_embed(passage: Passage) -> str:
    """Return heading and text, because the heading may name the subject."""
    return f"{passage.heading}\n{passage.text}" if passage.heading else passage.text


def _no_report(phase: str, done: int, total: int) -> None:
    """Ignore the progress."""
