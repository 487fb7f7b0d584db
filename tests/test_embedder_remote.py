"""An embedder of another machine: what is kept is asked for once, and nothing bad is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.remote.stand_in import StandIn, hotstart, openai, raw, silent, status, vector
from hotstart import Embedder, SearchIndex
from hotstart.cache.embedding_cache import EmbeddingCache
from hotstart.errors import (
    RemoteAnswerInvalid,
    RemoteTimeout,
    RemoteUnavailable,
    StillComputing,
)
from hotstart.pool.pool import Pool


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.stop()


def embedder(server: StandIn, **options: Any) -> Embedder:
    options.setdefault("cache", EmbeddingCache("memory:1MB"))
    return Embedder(f"openai:m@{server.url}/v1", pool=Pool(), **options)


def test_vectors_and_what_is_known_of_them(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    remote = embedder(server, cache=None)
    np.testing.assert_array_equal(remote.encode("abc"), vector("abc"))
    assert remote.encode(["a", "b"], truncate_dim=2).shape == (2, 2)
    assert remote.dimension == 4
    assert "127.0.0.1" in remote.fingerprint
    assert server.requests[0][0] == "/v1/embeddings"
    assert server.requests[0][1]["Authorization"] == "Bearer sk-test"
    assert Embedder("openai:text-embedding-3-small").dimension == 1536


def test_a_model_that_a_hotstart_server_replaced_has_another_identity(
    server: StandIn, tmp_path: Path
) -> None:
    def opened() -> Embedder:
        cache = EmbeddingCache(f"sqlite:{tmp_path}/vectors.db")
        return Embedder(f"hotstart:{server.url}", cache=cache, pool=Pool())

    server.answer = hotstart("one")
    before = opened()
    np.testing.assert_array_equal(before.encode("a"), vector("a"))
    assert before.fingerprint.endswith("-one")
    assert "model" not in server.requests[-1][2]  # the server's first model

    server.answer = hotstart("two", offset=100)
    after = opened()
    assert after.encode("a")[0] > 100
    assert after.fingerprint.endswith("-two")
    # The other embedder learns of it with the next answer.
    result = before.embed("b")
    assert result.vectors[0] > 100
    assert result.fingerprint.endswith("-two")
    assert before.encode("a")[0] > 100

    asked = len(server.requests)
    np.testing.assert_array_equal(opened().encode(["a", "b"]), before.encode(["a", "b"]))
    assert len(server.requests) == asked + 1  # at its load


@pytest.mark.parametrize("texts", [300, 1100])
def test_vectors_of_two_models_are_not_one_answer(server: StandIn, texts: int) -> None:
    server.answer = hotstart("one")
    remote = Embedder(f"hotstart:{server.url}", pool=Pool())
    remote.encode("a")
    server.script.extend([hotstart("one")] * (texts // 256) + [hotstart("two")])
    with pytest.raises(RemoteAnswerInvalid, match="replaced during the call"):
        remote.encode([f"{n}" for n in range(texts)])


@pytest.mark.parametrize("odd", [7, ["one"], "x" * 201])
def test_an_odd_fingerprint_is_no_identity(server: StandIn, odd: Any) -> None:
    server.answer = hotstart(odd)
    with pytest.raises(RemoteAnswerInvalid, match="fingerprint"):
        Embedder(f"hotstart:{server.url}", pool=Pool()).encode("a")


def test_the_service_is_where_the_environment_says(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    assert Embedder("openai:m", pool=Pool()).encode("a").shape == (4,)


def test_remote_calls_are_as_many_as_distinct_texts(server: StandIn) -> None:
    remote = embedder(server)
    texts = [f"text {number % 10}" for number in range(500)]
    with ThreadPoolExecutor(16) as threads:
        for text, found in zip(texts, threads.map(remote.encode, texts), strict=True):
            np.testing.assert_array_equal(found, vector(text))
    assert server.texts == dict.fromkeys(texts, 1)
    assert len(server.requests) == 10


def test_a_batch_sends_each_text_once(server: StandIn) -> None:
    remote = embedder(server)
    remote.encode("b")
    found = remote.encode(["a", "b", "a", "c", "b"])
    np.testing.assert_array_equal(found, [vector(text) for text in "abacb"])
    assert [body["input"] for *_, body in server.requests] == [["b"], ["a", "c"]]


def test_the_loop_is_free_and_many_wait_at_once(server: StandIn) -> None:
    def slow(handler: Any, body: dict[str, Any]) -> None:
        time.sleep(0.3)
        openai()(handler, body)

    server.answer = slow
    remote = embedder(server)

    async def main() -> float:
        await remote.aencode("warm")
        began = time.monotonic()
        await asyncio.gather(*(remote.aencode(f"text {n}") for n in range(24)))
        return time.monotonic() - began

    assert asyncio.run(main()) < 1.5  # one after the other: 7


def test_the_timeout_is_kept(server: StandIn) -> None:
    server.answer = silent(20)
    for remote in (embedder(server, cache=None), embedder(server)):
        remote.wait_ready()
        began = time.monotonic()
        with pytest.raises(RemoteTimeout):
            remote.encode("a", timeout=0.3)
        with pytest.raises((RemoteTimeout, StillComputing)):
            asyncio.run(remote.aencode("b", timeout=0.3))
        assert time.monotonic() - began < 15


def test_nothing_of_a_bad_answer_is_kept(server: StandIn) -> None:
    remote = embedder(server)
    for trouble in (raw(b"{"), openai(change=lambda said: said | {"data": said["data"][:-1]})):
        server.script.append(trouble)
        with pytest.raises(RemoteAnswerInvalid):
            remote.encode(["a", "b"])
    assert remote.cache_info().entries == 0
    np.testing.assert_array_equal(remote.encode("a"), vector("a"))


def test_what_is_kept_goes_on_while_the_service_is_down(server: StandIn, tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'vectors.db'}"
    source = f"openai:m@{server.url}/v1"
    Embedder(source, cache=url, pool=Pool()).encode("a")
    server.stop()
    again = Embedder(source, cache=EmbeddingCache(url), pool=Pool())
    np.testing.assert_array_equal(again.encode("a"), vector("a"))
    with pytest.raises(RemoteUnavailable):
        again.encode("b", timeout=1)
    server.__init__()  # type: ignore[misc]  # for the fixture to stop


def test_a_local_model_answers_where_that_is_accepted(server: StandIn, tmp_path: Path) -> None:
    (tmp_path / "cat.md").write_text("A kitten sleeps on the mat.\n")
    remote = embedder(server, fallback="all-MiniLM-L6-v2")
    index = SearchIndex(tmp_path, remote)
    assert index.update().embedded == 2
    assert index.search("kitten").model == remote.model
    server.answer = status(503)
    with pytest.raises(RemoteUnavailable):
        remote.encode("dog")
    answer = remote.embed("dog", accept_fallback=True)
    assert (answer.model, answer.vectors.shape) == ("all-MiniLM-L6-v2", (384,))
    found = index.search("where does the cat sleep")
    assert (found.model, found.engine) == ("all-MiniLM-L6-v2", "onnx")
    assert found.reason is not None
    assert "'all-MiniLM-L6-v2' answers: Model openai:m@" in found.reason


def test_figures_of_the_engine_are_among_the_embedders(server: StandIn) -> None:
    remote = embedder(server)
    remote.encode("a")
    names = {figure.name for figure in remote.metrics()}
    assert {"hotstart_remote_requests_total", "hotstart_cache_asked_total"} <= names
