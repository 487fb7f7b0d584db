"""Reference points chosen by the meaning of an answer, within a time that a person will wait.

answer ──embedder────────▶ vector ──Qdrant──▶ nearest points
              │
              └─ `prepare`: once the model is ready, the points themselves go the same way
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from importlib import resources
from typing import Any, Protocol

from examples.interview_bot.collection import Collection, Found, collection_name
from examples.interview_bot.interview import Question, ReferencePoint
from hotstart.errors import HotstartError, NotReady

RETRIEVAL_SECONDS = 4.0
"""Seconds for embedding, preparing the points, and the search together."""
EMBEDDING_SHARE = 0.75
"""The part of these seconds that the embedding of an answer may take."""
NEAR_ENOUGH = 0.28
"""Cosine below which a point has nothing to do with the answer. Tried out with all-MiniLM-L6-v2:
what says nothing of the trade ("no idea") reaches 0.27, what speaks of a topic 0.3 to 0.7."""

_log = logging.getLogger(__name__)


class TextEmbedder(Protocol):
    """What is used of `hotstart.Embedder`."""

    @property
    def fingerprint(self) -> str:
        """Identity of the vector space."""

    async def await_ready(self, timeout: float | None = None) -> bool:
        """Wait for the model."""

    async def aencode_document(self, inputs: Any, *, normalize_embeddings: bool = False) -> Any:
        """Embed texts to be found."""

    async def aencode_query(
        self,
        inputs: Any,
        *,
        normalize_embeddings: bool = False,
        timeout: float | None = None,
    ) -> Any:
        """Embed a text to search with."""


class ContextUnavailable(Exception):
    """There is no context to an answer, for the reason given."""


class ReferenceIndex:
    """The reference points, searchable by meaning. One serves every conversation of the process.

    Args:
        points: what to search.
        embedder: shared with nobody or with everybody, it loads once.
        url: a Qdrant server; None keeps the points in this process's memory.
        timeout: seconds to wait for the points that are nearest to an answer.
    """

    def __init__(
        self,
        points: Sequence[ReferencePoint],
        embedder: TextEmbedder,
        url: str | None = None,
        timeout: float = RETRIEVAL_SECONDS,
    ) -> None:
        self._points = points
        self._embedder = embedder
        self._url = url
        self._timeout = timeout
        self._preparing: asyncio.Task[Collection] | None = None

    def prepare(self) -> asyncio.Task[Collection]:
        """Start to embed and store the points, unless that is done or under way.

        Retry a failed preparation: the server may have started meanwhile.
        """
        task = self._preparing
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._preparing = asyncio.create_task(self._prepare())
            task.add_done_callback(_tell_outcome)
        return task

    async def nearest(self, answer: str, limit: int) -> list[ReferencePoint]:
        """Return up to `limit` points that have to do with `answer`, the nearest first.

        Raises:
            ContextUnavailable: not to be had in time, or not at all; it states why.
        """
        try:
            found = await asyncio.wait_for(self._search(answer, limit), self._timeout)
        except NotReady as error:
            raise ContextUnavailable(f"the model is not ready: {error}") from error
        except (asyncio.TimeoutError, TimeoutError) as error:
            raise ContextUnavailable(f"no result within {self._timeout:g} s") from error
        except HotstartError as error:
            raise ContextUnavailable(f"the embedding failed: {error}") from error
        except Exception as error:
            # Whatever went wrong there, the conversation goes on: the person came to talk.
            _log.debug("what failed in the retrieval", exc_info=True)
            raise ContextUnavailable(f"the retrieval failed: {_described(error)}") from error
        near = [each.point for each in found if each.score >= NEAR_ENOUGH]
        if not near:
            best = found[0].score if found else 0.0
            raise ContextUnavailable(f"no point is near the answer (best cosine {best:.2f})")
        return near

    async def close(self) -> None:
        """Stop preparing, and let go of Qdrant."""
        task, self._preparing = self._preparing, None
        if task is None:
            return
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(outcome, Collection):
            await outcome.close()

    async def _search(self, answer: str, limit: int) -> list[Found]:
        preparing = self.prepare()
        vector = await self._embedder.aencode_query(
            answer, timeout=EMBEDDING_SHARE * self._timeout, normalize_embeddings=True
        )
        # Shielded: a turn that runs out of time must not stop what the next turn will need.
        collection = await asyncio.shield(preparing)
        return await collection.nearest(vector.tolist(), limit)

    async def _prepare(self) -> Collection:
        await self._embedder.await_ready()
        # A property that may touch the disk, and so stays out of the event loop.
        fingerprint = await asyncio.to_thread(lambda: self._embedder.fingerprint)
        name = collection_name(fingerprint, self._points)
        collection = await Collection.opened(self._url, name)
        try:
            if not await collection.holds(len(self._points)):
                texts = [point.text for point in self._points]
                vectors = await self._embedder.aencode_document(texts, normalize_embeddings=True)
                await collection.put(self._points, vectors.tolist())
        except BaseException:
            await collection.close()
            raise
        return collection


def load_points() -> tuple[ReferencePoint, ...]:
    """The built-in reference points."""
    return tuple(ReferencePoint(**record) for record in _data("reference_points.json"))


def load_questions() -> tuple[Question, ...]:
    """The built-in list of questions for when there is no context."""
    return tuple(Question(**record) for record in _data("questions.json"))


def _data(name: str) -> list[dict[str, str]]:
    text = (resources.files(__package__) / "data" / name).read_text(encoding="utf-8")
    records: list[dict[str, str]] = json.loads(text)
    return records


def _tell_outcome(task: asyncio.Task[Collection]) -> None:
    """Log how the preparation ended, which nobody may be waiting for at that moment."""
    if task.cancelled():
        return
    error = task.exception()
    if error is None:
        _log.info("the reference points are in Qdrant, collection %s", task.result().name)
    else:
        _log.warning("the reference points are not in Qdrant: %s", _described(error))


def _described(error: BaseException) -> str:
    """The error with its type, on one line: the client's messages are empty or several lines."""
    return " ".join(f"{type(error).__name__}: {error}".split())
