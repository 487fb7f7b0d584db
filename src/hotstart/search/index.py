"""`SearchIndex`: update and search an index of a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from hotstart.concurrency import Deadline
from hotstart.errors import IndexMissing, InvalidInput
from hotstart.search.fusion import Fusion
from hotstart.search.lexical import LexicalIndex
from hotstart.search.location import DATABASE, locate, stored_location
from hotstart.search.query import parse_query
from hotstart.search.searcher import Question, Searcher
from hotstart.search.store import Store, StorePool

if TYPE_CHECKING:
    from hotstart.embedder import Embedder
    from hotstart.reranker import Reranker
    from hotstart.search.answer import Answer, Hit
    from hotstart.search.documents import FileSelection
    from hotstart.search.excerpt import Excerpt
    from hotstart.search.expressions import Expression
    from hotstart.search.indexing import IndexStatus, OnProgress, UpdateReport


class SearchIndex:
    """The index of the folder `path`. The constructor reads nothing; the methods are thread-safe.

    Args:
        path: the folder to search, or several.
        embedder: computes the vectors; without one, answers are lexical.
        store: the folder of the index; required for several folders. By default the sub-folder
            `.hotstart`, or a folder of the cache if there is no index and none can be written.
        fusion: how lexical and semantic ranking become one: `linear` adds scores, `rrf` the
            reciprocals of ranks.
        reranker: puts the first 20 hits in its own order, if the time of a search suffices.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        embedder: Embedder | None = None,
        store: str | os.PathLike[str] | None = None,
        *,
        fusion: Fusion = "linear",
        reranker: Reranker | None = None,
    ) -> None:
        if fusion not in get_args(Fusion):
            raise InvalidInput("fusion", got=fusion, expected=" or ".join(get_args(Fusion)))
        paths = [path] if isinstance(path, str | os.PathLike) else path
        home = None if store is None else os.fspath(store)
        self._location = locate([os.fspath(each) for each in paths], home)
        self._path = self._location.root
        self._database = os.path.join(self._location.home, DATABASE)
        self._embedder = embedder
        self._stores = StorePool(self._database)
        self._lexical = LexicalIndex(os.path.join(self._location.home, "lexical"))
        self._searcher = Searcher(self._location, self._lexical, embedder, fusion, reranker)

    def __repr__(self) -> str:
        return f"SearchIndex({self._path!r})"

    @classmethod
    def nearest(
        cls,
        path: str | os.PathLike[str],
        embedder: Embedder | None = None,
        *,
        fusion: Fusion = "linear",
        reranker: Reranker | None = None,
    ) -> SearchIndex:
        """Return the index of `path` or of its nearest indexed parent.

        Raises:
            IndexMissing: neither `path` nor a parent is indexed.
        """
        folder = start = os.path.abspath(os.fspath(path))
        while not locate([folder]).exists:
            folder, below = os.path.dirname(folder), folder
            if folder == below:
                raise IndexMissing(start if os.path.isdir(start) else os.path.dirname(start))
        return cls(folder, embedder, fusion=fusion, reranker=reranker)

    @classmethod
    def stored(
        cls,
        store: str | os.PathLike[str],
        embedder: Embedder | None = None,
        *,
        fusion: Fusion = "linear",
        reranker: Reranker | None = None,
    ) -> SearchIndex:
        """Return the index in the folder `store`, of the folders that it was made of.

        Raises:
            IndexMissing: there is no index.
            IndexDamaged: its record of the folders cannot be read.
        """
        folders = stored_location(os.fspath(store)).folders
        return cls(folders, embedder, store, fusion=fusion, reranker=reranker)

    @property
    def path(self) -> str:
        """The indexed folder; of several, the nearest folder above them."""
        return self._path

    @property
    def folders(self) -> tuple[str, ...]:
        """The indexed folders."""
        return self._location.folders

    @property
    def home(self) -> str:
        """The folder of the index."""
        return self._location.home

    @property
    def exists(self) -> bool:
        """Whether the folder is indexed."""
        return os.path.isfile(self._database)

    def update(
        self,
        on_progress: OnProgress | None = None,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> UpdateReport:
        """Update the index; read and embed only changed files.

        An interrupted or killed update keeps its progress; the next update continues.

        Args:
            on_progress: called with the phase, its completed steps and its total steps.
            include: globs as in .gitignore: index only what they match. By default those of the
                `[search]` table in the folder's hotstart.toml; without any, everything.
            exclude: globs of what is left out, by default those of the table.

        Raises:
            IndexBusy: another process is updating the index.
            IndexDamaged: the database belongs to another program, or cannot be read or written.
            InvalidInput: the folder is not there, or a glob or the table cannot be read.
            HotstartError: the model could not be loaded; answers are lexical until it is.
        """
        from hotstart.search.indexing import update_index

        selections = self._selections(include, exclude)
        self._location.refuse_links()
        self._lexical.check_installed()
        with self._location.writing(), Store(self._database) as store:
            return update_index(
                self._path, store, self._lexical, self._embedder, on_progress, selections
            )

    def forget(self, path: str | os.PathLike[str]) -> int:
        """Remove a file, or a folder with all below it, from the index; return how many files.

        All of them go at once, and no file of the index keeps a byte of them. The next update adds
        what is still there, unless it is ignored or excluded.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process is updating the index.
            InvalidInput: `path` is not below the folder, or nothing of it is indexed.
        """
        from hotstart.search.indexing import forget_documents

        if not self.exists:
            raise IndexMissing(self._path)
        below = self._below(path)
        self._location.refuse_links()
        with self._location.writing(), Store(self._database) as store:
            count = forget_documents([below], store, self._lexical)
        if not count:
            raise InvalidInput("path", got=os.fspath(path), expected="an indexed file or folder")
        return count

    def delete(self) -> None:
        """Remove the whole index; the files that it is of stay.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process is updating the index.
        """
        import shutil

        from hotstart.files import beside

        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with self._location.writing():
            # In one step, so that what is left after a crash is no index.
            removed = beside(self._location.home)
            os.rename(self._location.home, removed)
            shutil.rmtree(removed)

    def read(self, path: str | os.PathLike[str]) -> str:
        """Return the text of a file below the folder, as it is now.

        Raises:
            InvalidInput: `path` is not below the folder, or is no text.
        """
        from hotstart.search.documents import read_document
        from hotstart.search.text import SkippedFile

        file = os.path.join(self._path, self._below(path))
        try:
            return read_document(file, is_named=True).text
        except FileNotFoundError:
            raise InvalidInput(
                "path", got=os.fspath(path), expected="a file that is there"
            ) from None
        except SkippedFile as verdict:
            expected = f"a text file, it is passed over: {verdict}"
            raise InvalidInput("path", got=os.fspath(path), expected=expected) from None

    def status(self) -> IndexStatus:
        """Return what is indexed, and what changed since.

        Raises:
            IndexMissing: the folder is not indexed.
            InvalidInput: the folder is not there.
        """
        from hotstart.search.indexing import IndexStatus, pending_changes

        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with Store(self._database) as store:
            return IndexStatus(
                folders=self._location.folders,
                home=self._location.home,
                documents=len(store.documents()),
                chunks=store.count_chunks(),
                vectors=store.vector_spaces(),
                size=self._location.size(),
                changed_at=self._location.changed_at(),
                pending=pending_changes(self._path, store, self._selections()),
            )

    def _selections(
        self, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
    ) -> list[FileSelection]:
        """Return which files of each folder are indexed."""
        from hotstart.config import search_settings
        from hotstart.search.documents import FileSelection

        selections = []
        for folder in self._location.folders:
            if not os.path.isdir(folder):
                raise InvalidInput("path", got=folder, expected="a folder that exists")
            table = search_settings(folder)
            included = table.include if include is None else include
            excluded = table.exclude if exclude is None else exclude
            selections.append(FileSelection(folder, included, excluded))
        return selections

    def _below(self, path: str | os.PathLike[str]) -> str:
        """Return `path` relative to the folder, with forward slashes; links are followed."""
        given = os.fspath(path)
        root = os.path.realpath(self._path)
        below = os.path.relpath(os.path.realpath(os.path.join(self._path, given)), root)
        if below.split(os.sep)[0] == os.pardir:
            raise InvalidInput("path", got=given, expected=f"a path below {self._path}")
        return "" if below == os.curdir else below.replace(os.sep, "/")

    def touch(self, path: str) -> bool:
        """Record a use of a file, such as its opening: for a while it ranks higher.

        Args:
            path: the file, as a hit names it.

        Returns:
            Whether the use was recorded. A file that is not indexed has no history, and an index
            that cannot be written keeps none.

        Raises:
            IndexMissing: the folder is not indexed.
            IndexBusy: another process holds a transaction for seconds.
            IndexDamaged: the database belongs to another program, or cannot be read.
        """
        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with Store(self._database) as store:
            if store.is_read_only:
                return False
            with store.transaction():
                return store.use(path, time.time())

    def search(
        self,
        query: str = "",
        top_k: int = 10,
        timeout: float | None = None,
        *,
        regex: str | None = None,
        min_score: float = 0.0,
        activation: bool = True,
    ) -> Answer:
        """Return the `top_k` files that answer `query` best, each by its best chunk.

        If the vector of the query is not available in time, the answer is lexical and has a
        `reason`.

        Args:
            query: words or a question, with phrases in quotes, `-word`, `path:` and `lang:`.
            top_k: maximal number of hits.
            timeout: seconds to wait for the model; 0 for no wait, None for no limit.
            regex: a regular expression of RE2. The hits are its matches, whole lines each, in the
                order of the words of the query, if it has any, and of the signals.
            min_score: leave out hits with a lower score.
            activation: whether files that were used of late rank higher; see `touch`.

        Raises:
            InvalidInput: an argument cannot be used.
            IndexMissing: the folder is not indexed.
            IndexDamaged: the database belongs to another program, or cannot be read.
        """
        _check(query, top_k, timeout, min_score, regex)
        expression = None if regex is None else _compiled(regex)
        question = Question(
            query=parse_query(query, needs_words=expression is None),
            expression=expression,
            top_k=top_k,
            min_score=min_score,
            activation=activation,
            deadline=Deadline(timeout),
        )
        if not self.exists:
            raise IndexMissing(self._path)
        self._location.refuse_links()
        with self._stores.borrow() as store:
            return self._searcher.answer(store, question)

    def excerpt(
        self, query: str, hit: Hit, context: int | None = None, *, regex: str | None = None
    ) -> Excerpt:
        """Return the lines of `hit` with most words of `query`, as they are in the file now.

        Args:
            query: the words of the query, as `Answer.query` has them.
            hit: a hit of this index.
            context: lines to show around each of them; by default three lines in all.
            regex: the regular expression of the search, whose matches are marked.
        """
        from hotstart.search.excerpt import alone, take_excerpt, within_file

        if context is None and hit.is_current:
            place = alone(hit.text, hit.start_line)
        else:
            place = within_file(hit.file, hit.text, hit.start_line)
        expression = None if regex is None else _compiled(regex)
        return take_excerpt(place, self._lexical.wanted(query), context, expression)


def _check(
    query: str, top_k: int, timeout: float | None, min_score: float, regex: str | None
) -> None:
    if not isinstance(query, str) or not (query.strip() or regex is not None):
        raise InvalidInput("query", got=query, expected="a text with a word in it")
    if not isinstance(top_k, int) or top_k < 1:
        raise InvalidInput("top_k", got=top_k, expected="a positive integer")
    Deadline(timeout)  # raises for what is no number
    if timeout is not None and timeout < 0:
        raise InvalidInput("timeout", got=timeout, expected="a number from 0 on, or None")
    if not 0 <= min_score <= 1:
        raise InvalidInput("min_score", got=min_score, expected="a number from 0 to 1")


def _compiled(pattern: str) -> Expression:
    from hotstart.search.expressions import Expression

    return Expression(pattern)
