"""Reference points by meaning: in memory and on a server, slow, failing and unreachable."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from examples.interview_bot import reference
from examples.interview_bot.collection import collection_name
from examples.interview_bot.interview import ReferencePoint
from examples.interview_bot.reference import (
    ContextUnavailable,
    ReferenceIndex,
    load_points,
    load_questions,
)
from numpy.typing import NDArray

from hotstart import Embedder
from hotstart.errors import LoadFailed, NotReady

PATIENCE = 60.0  # seconds; a retrieval that must succeed has time on a busy machine
POINTS = (
    ReferencePoint("databases", "index table query", "Which index?"),
    ReferencePoint("concurrency", "lock thread deadlock", "Which lock?"),
)


class WordEmbedder:
    """One dimension for each word of POINTS; slow or broken as the test wants it."""

    fingerprint = "words"
    _words = " ".join(point.text for point in POINTS).split()

    def __init__(self, *, is_ready: bool = True, error: Exception | None = None) -> None:
        self.is_ready = asyncio.Event()
        if is_ready:
            self.is_ready.set()
        self.error = error
        self.documents = 0

    async def await_ready(self, timeout: float | None = None) -> bool:
        await self.is_ready.wait()
        return True

    async def aencode_query(self, inputs: str, **options: Any) -> NDArray[np.float32]:
        if self.error:
            raise self.error
        if not self.is_ready.is_set():
            assert options["timeout"] == reference.EMBEDDING_SHARE * PATIENCE
            raise NotReady("words", state="loading", stage="test", elapsed=3, expected=None)
        assert options["normalize_embeddings"]
        vector = np.array([inputs.split().count(word) for word in self._words], np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1.0)

    async def aencode_document(self, inputs: list[str], **options: Any) -> NDArray[np.float32]:
        self.documents += len(inputs)
        return np.stack([await self.aencode_query(text, **options) for text in inputs])


def with_index(
    scene: Callable[[ReferenceIndex], Awaitable[None]],
    embedder: Callable[[], Any],
    url: str | None = None,
    timeout: float = PATIENCE,
) -> None:
    """Run `scene` with an index of POINTS that is closed behind it."""

    async def run() -> None:
        index = ReferenceIndex(POINTS, embedder(), url, timeout)
        try:
            await scene(index)
        finally:
            await index.close()

    asyncio.run(run())


def test_the_nearest_point_comes_first() -> None:
    async def scene(index: ReferenceIndex) -> None:
        found = await index.nearest("a thread waits for a lock in a table", 5)
        assert [point.topic for point in found] == ["concurrency", "databases"]
        assert await index.nearest("query", 1) == [POINTS[0]]

    with_index(scene, WordEmbedder)


def test_what_is_not_near_is_no_context() -> None:
    async def scene(index: ReferenceIndex) -> None:
        with pytest.raises(ContextUnavailable, match="no point is near"):
            await index.nearest("cats", 5)

    with_index(scene, WordEmbedder)


def test_the_points_are_embedded_once_however_many_ask() -> None:
    async def run() -> int:
        embedder = WordEmbedder()
        index = ReferenceIndex(POINTS, embedder, timeout=PATIENCE)
        await asyncio.gather(*(index.nearest("lock", 1) for _ in range(20)))
        await index.nearest("lock", 1)
        await index.close()
        return embedder.documents

    assert asyncio.run(run()) == len(POINTS)


def test_a_model_that_is_not_ready_gives_its_reason_and_later_context() -> None:
    async def run() -> None:
        embedder = WordEmbedder(is_ready=False)
        index = ReferenceIndex(POINTS, embedder, timeout=PATIENCE)
        with pytest.raises(ContextUnavailable, match=r"not ready.*loading"):
            await index.nearest("lock", 1)
        embedder.is_ready.set()
        assert await index.nearest("lock", 1) == [POINTS[1]]
        await index.close()

    asyncio.run(run())


def test_an_embedder_that_ignores_its_deadline_does_not_hold_up_the_turn() -> None:
    class Stuck(WordEmbedder):
        async def aencode_query(self, inputs: str, **options: Any) -> NDArray[np.float32]:
            await asyncio.sleep(60)
            raise AssertionError

    async def scene(index: ReferenceIndex) -> None:
        with pytest.raises(ContextUnavailable, match=r"no result within 0\.05 s"):
            await index.nearest("lock", 1)

    with_index(scene, lambda: Stuck(is_ready=False), timeout=0.05)


def test_a_turn_that_runs_out_of_time_does_not_stop_the_preparation() -> None:
    release = asyncio.Event()

    class SlowPoints(WordEmbedder):
        async def aencode_document(self, inputs: list[str], **options: Any) -> NDArray[np.float32]:
            await release.wait()
            return await super().aencode_document(inputs, **options)

    async def scene(index: ReferenceIndex) -> None:
        preparing = index.prepare()
        with pytest.raises(ContextUnavailable, match="no result within"):
            await index.nearest("lock", 1)
        release.set()
        await preparing
        assert index.prepare() is preparing
        assert await index.nearest("lock", 1) == [POINTS[1]]

    with_index(scene, SlowPoints, timeout=2)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LoadFailed("words", error=OSError("disk"), retry_in=1), "the embedding failed: .*disk"),
        (RuntimeError("boom"), "the retrieval failed: RuntimeError: boom"),
    ],
)
def test_an_embedding_that_fails_gives_its_reason_and_is_tried_again(
    error: Exception, reason: str
) -> None:
    async def run() -> None:
        embedder = WordEmbedder(error=error)
        index = ReferenceIndex(POINTS, embedder, timeout=PATIENCE)
        for _ in range(2):
            with pytest.raises(ContextUnavailable, match=reason):
                await index.nearest("lock", 1)
        await asyncio.wait([index.prepare()])  # which fails as well
        embedder.error = None
        assert await index.nearest("lock", 1) == [POINTS[1]]
        await index.close()

    asyncio.run(run())


def test_an_unreachable_server_gives_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))

        async def scene(index: ReferenceIndex) -> None:
            with pytest.raises(ContextUnavailable, match="retrieval failed"):
                await index.nearest("lock", 1)

        with caplog.at_level(logging.WARNING, reference.__name__):
            with_index(scene, WordEmbedder, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "the reference points are not in Qdrant" in caplog.messages[0]


def test_closing_in_the_middle_of_the_preparation_ends_it() -> None:
    async def scene(index: ReferenceIndex) -> None:
        assert not index.prepare().done()

    with_index(scene, lambda: WordEmbedder(is_ready=False))


class QdrantServer:
    """A local stand-in for Qdrant's HTTP interface, as far as it is used here."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[int, Any]] = {}
        self.calls: Counter[str] = Counter()
        self.fail_next = False

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_route("*", "/collections/{name}{rest:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        name, rest = request.match_info["name"], request.match_info["rest"]
        call = f"{request.method} {rest}"
        self.calls[call] += 1
        if self.fail_next:
            self.fail_next = False
            return web.json_response({"status": {"error": "out of order"}}, status=500)
        body = json.loads(await request.text() or "{}")
        result = self._result(call, name, body)
        return web.json_response({"time": 0.0, "status": "ok", "result": result})

    def _result(self, call: str, name: str, body: dict[str, Any]) -> object:
        match call:
            case "GET /exists":
                return {"exists": name in self.collections}
            case "PUT ":
                assert body["vectors"]["distance"] == "Cosine"
                self.collections[name] = {}
                return True
            case "POST /points/count":
                return {"count": len(self.collections[name])}
            case "PUT /points":
                self.collections[name].update({point["id"]: point for point in body["points"]})
                return {"operation_id": 1, "status": "completed"}
            case "POST /points/query":
                return {"points": self._nearest(name, body)}
        raise AssertionError(call)

    def _nearest(self, name: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        hits = [
            {
                "id": number,
                "version": 1,
                "score": float(np.dot(body["query"]["nearest"], point["vector"])),
                "payload": point["payload"],
            }
            for number, point in self.collections[name].items()
        ]
        hits.sort(key=lambda hit: -hit["score"])
        return hits[: body["limit"]]


async def serving(server: QdrantServer, scene: Callable[[str], Awaitable[None]]) -> None:
    """Run `scene` with the address of `server`."""
    runner = web.AppRunner(server.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        await scene(f"http://{host}:{port}")
    finally:
        await runner.cleanup()


def test_a_server_keeps_the_points_for_the_next_run() -> None:
    server = QdrantServer()
    embedders = []

    async def scene(url: str) -> None:
        for _ in range(2):
            embedders.append(WordEmbedder())
            index = ReferenceIndex(POINTS, embedders[-1], url, PATIENCE)
            assert await index.nearest("lock", 1) == [POINTS[1]]
            await index.close()

    asyncio.run(serving(server, scene))
    assert [embedder.documents for embedder in embedders] == [len(POINTS), 0]
    assert server.calls["PUT "] == 1


def test_a_server_that_came_back_is_used() -> None:
    server = QdrantServer()
    server.fail_next = True

    async def scene(url: str) -> None:
        index = ReferenceIndex(POINTS, WordEmbedder(), url, PATIENCE)
        with pytest.raises(ContextUnavailable, match="out of order"):
            await index.nearest("lock", 1)
        assert await index.nearest("lock", 1) == [POINTS[1]]
        await index.close()

    asyncio.run(serving(server, scene))


def test_another_model_or_other_points_have_a_collection_of_their_own() -> None:
    names = {
        collection_name("one", POINTS),
        collection_name("other", POINTS),
        collection_name("one", POINTS[:1]),
    }
    assert len(names) == 3
    assert collection_name("one", POINTS) in names


def test_the_built_in_points_and_questions_are_whole() -> None:
    points, questions = load_points(), load_questions()

    assert len(points) == len({point.text for point in points}) == 60
    assert len({point.question for point in points}) == 60
    assert set(Counter(point.topic for point in points).values()) == {5}
    assert len({question.question for question in questions}) == 10
    assert all(text.strip() == text for record in (*points, *questions) for text in record)


@pytest.mark.parametrize(
    ("answer", "topic"),
    [
        ("I moved our orders into PostgreSQL and tuned its indexes.", "databases"),
        ("Two of our threads waited for each other's lock forever.", "concurrency"),
        ("We kept sessions in Redis and they got stale.", "caching"),
        ("We ship containers with Kubernetes.", "deployment"),
    ],
)
def test_the_real_model_chooses_by_meaning(answer: str, topic: str) -> None:
    async def run() -> str:
        index = ReferenceIndex(load_points(), Embedder(), timeout=PATIENCE)
        await index.prepare()
        try:
            return (await index.nearest(answer, 1))[0].topic
        finally:
            await index.close()

    assert asyncio.run(run()) == topic
