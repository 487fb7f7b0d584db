"""The remote engine over real sockets: its requests, and every failure."""

from __future__ import annotations

import email.utils
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.remote.stand_in import (
    Answer,
    StandIn,
    cut_off,
    early_hints,
    empty_gzip,
    large,
    openai,
    raw,
    reset,
    silent,
    slow_headers,
    status,
    tei,
    trickle,
    vector,
)
from hotstart.engines.remote.address import RemoteAddress
from hotstart.engines.remote.client import RemoteLimits
from hotstart.engines.remote.engine import RemoteEngine
from hotstart.errors import (
    HotstartError,
    RemoteAnswerInvalid,
    RemoteRefused,
    RemoteTimeout,
    RemoteUnavailable,
)

QUICK = RemoteLimits(timeout=10, first_wait=0.01, longest_wait=0.05)
KEY = "sk-very-secret-0123456789"


def engine(
    stand_in: StandIn, *, limits: RemoteLimits = QUICK, key: str | None = KEY, **options: Any
) -> RemoteEngine:
    return RemoteEngine(RemoteAddress("openai", "m", stand_in.url), key, limits=limits, **options)


def expected(*texts: str) -> Any:
    return np.array([vector(text) for text in texts], np.float32)


# Requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("base64_too", [True, False])
@pytest.mark.parametrize("reverse", [True, False])
def test_vectors_come_in_the_order_of_the_texts(
    stand_in: StandIn, base64_too: bool, reverse: bool
) -> None:
    stand_in.answer = openai(base64_too=base64_too, reverse=reverse)
    vectors = engine(stand_in).embed(["a", "bcd", "", "ef"]).vectors.array()
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected("a", "bcd", "", "ef"))
    path, headers, body = stand_in.requests[0]
    assert path == "/embeddings"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"model": "m", "input": ["a", "bcd", "", "ef"], "encoding_format": "base64"}


def test_tei_requests_follow_its_protocol(stand_in: StandIn) -> None:
    stand_in.answer = tei
    remote = RemoteEngine(RemoteAddress.parse(f"tei:{stand_in.url}"), limits=QUICK)
    texts = [f"text {'x' * n}" for n in range(70)]
    np.testing.assert_array_equal(remote.embed(texts).vectors.array(), expected(*texts))
    assert {path for path, _, _ in stand_in.requests} == {"/embed"}
    assert sorted(len(body["inputs"]) for _, _, body in stand_in.requests) == [6, 32, 32]
    assert all(body["truncate"] and body["normalize"] for _, _, body in stand_in.requests)
    assert not any("Authorization" in headers for _, headers, _ in stand_in.requests)


def test_a_hotstart_server_is_called_over_a_unix_socket(tmp_path: Path) -> None:
    stand_in = StandIn(path=str(tmp_path / "hotstart.sock"))
    try:
        remote = RemoteEngine(RemoteAddress.parse(f"hotstart:{stand_in.url}"), limits=QUICK)
        np.testing.assert_array_equal(remote.embed(["abc"]).vectors.array(), expected("abc"))
        assert stand_in.requests[0][0] == "/v1/embeddings"
        assert "model" not in stand_in.requests[0][2]  # the server's first model
    finally:
        stand_in.stop()


def test_connections_are_reused(stand_in: StandIn) -> None:
    remote = engine(stand_in)
    for number in range(20):
        remote.embed([f"text {number}"])
    assert stand_in.connections == 1


def test_batches_respect_the_providers_limits(stand_in: StandIn) -> None:
    remote = engine(stand_in)
    texts = ["x" * 150_000, "y" * 150_000, *(f"text {number}" for number in range(2100))]
    np.testing.assert_array_equal(remote.embed(texts).vectors.array(), expected(*texts))
    sizes = [(len(body["input"]), sum(map(len, body["input"]))) for *_, body in stand_in.requests]
    assert max(count for count, _ in sizes) <= 2048
    assert max(characters for _, characters in sizes) <= 200_000
    assert len(sizes) == 3
    stand_in.requests.clear()
    remote.embed(["a", "b", "c"], batch_size=2)
    assert sorted(len(body["input"]) for *_, body in stand_in.requests) == [1, 2]


def test_the_dimension_is_published_or_taken_from_a_response(stand_in: StandIn) -> None:
    published = RemoteEngine(RemoteAddress.parse("openai:text-embedding-3-large").at(None))
    assert published.dimension == 3072
    assert published.embed([]).vectors.array().shape == (0, 3072)
    assert stand_in.requests == []
    namesake = RemoteEngine(RemoteAddress("openai", "text-embedding-3-large", stand_in.url))
    assert namesake.embed(["a"]).vectors.array().shape == (1, 4)
    stand_in.requests.clear()
    called = engine(stand_in)
    called.embed(["a"])
    assert called.dimension == 4
    assert len(stand_in.requests) == 1
    assert engine(stand_in).dimension == 4
    assert len(stand_in.requests) == 2


def test_a_request_contains_the_requested_dimensions(stand_in: StandIn) -> None:
    engine(stand_in, dimensions=4).embed(["a"])
    assert stand_in.requests[0][2]["dimensions"] == 4
    with pytest.raises(RemoteAnswerInvalid, match="not 2 as before"):
        engine(stand_in, dimensions=2).embed(["a"])


# Transient failures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [status(500), status(503, "busy"), status(429), reset, cut_off, silent(1)]
)
def test_transient_failures_are_retried(stand_in: StandIn, failure: Answer) -> None:
    stand_in.script.extend([failure, failure])
    limits = QUICK._replace(silence=0.2)
    np.testing.assert_array_equal(
        engine(stand_in, limits=limits).embed(["a"]).vectors.array(), expected("a")
    )
    assert len(stand_in.requests) == 3


@pytest.mark.parametrize(
    "header", [lambda: "1", lambda: email.utils.formatdate(time.time() + 2, usegmt=True)]
)
def test_retry_after_is_honoured(stand_in: StandIn, header: Callable[[], str]) -> None:
    stand_in.script.append(status(429, "slow down", Retry_After=header()))
    began = time.monotonic()
    engine(stand_in).embed(["a"])
    assert 0.9 < time.monotonic() - began < 60


def test_a_retry_after_beyond_the_timeout_raises_at_once(stand_in: StandIn) -> None:
    stand_in.answer = status(429, "come tomorrow", Retry_After="86400")
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="come tomorrow"):
        engine(stand_in).embed(["a"], timeout=60)
    assert time.monotonic() - began < 30
    assert len(stand_in.requests) == 1


# Permanent failures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [silent(20), trickle(20), slow_headers(20), early_hints(20), empty_gzip(20)],
    ids=["silence", "a byte of the body", "a byte of a header", "early hints", "empty gzip"],
)
def test_a_slow_answer_raises_at_the_timeout(stand_in: StandIn, failure: Answer) -> None:
    stand_in.answer = failure
    began = time.monotonic()
    with pytest.raises(RemoteTimeout, match=r"0\.4 s") as late:
        engine(stand_in).embed(["a"], timeout=0.4)
    assert 0.3 < time.monotonic() - began < 15
    assert isinstance(late.value, TimeoutError)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (large(300), "more than 1250000 bytes"),
        (large(300, times=2), "content encoding is gzip, gzip"),
        (raw(b"[" * 100_000), "not JSON"),
    ],
    ids=["large", "compressed twice", "deep"],
)
def test_an_answer_that_vectors_cannot_fill_is_invalid(
    stand_in: StandIn, answer: Answer, reason: str
) -> None:
    stand_in.answer = answer
    with pytest.raises(RemoteAnswerInvalid, match=reason):
        engine(stand_in).embed(["a"], timeout=60)


def test_a_closed_port_raises_unavailable(stand_in: StandIn) -> None:
    stand_in.stop()
    with pytest.raises(RemoteUnavailable, match="Connect"):
        engine(stand_in).embed(["a"])


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 413, 422])
def test_a_rejected_request_is_not_retried(stand_in: StandIn, code: int) -> None:
    stand_in.answer = status(code, "that model is unknown here", Location="http://127.0.0.1:1/")
    with pytest.raises(RemoteRefused, match=f"HTTP {code}: that model is unknown") as refused:
        engine(stand_in).embed(["a"])
    assert refused.value.status == code
    assert len(stand_in.requests) == 1


def changed(change: Callable[[list[Any]], object]) -> Answer:
    def apply(answer: dict[str, Any]) -> dict[str, Any]:
        change(answer["data"])
        return answer

    return openai(base64_too=False, change=apply)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (changed(lambda data: data.pop()), "1 vectors for 2 texts"),
        (changed(lambda data: data.append(dict(data[0], index=2))), "3 vectors for 2 texts"),
        (changed(lambda data: data[1].update(index=0)), "indices"),
        (changed(lambda data: data[1].update(embedding=[1.0])), "length 1, 4"),
        (changed(lambda data: data[1].update(embedding=[])), "length 0, 4"),
        (changed(lambda data: data[0].update(embedding=[1, 2, 3, float("nan")])), "NaN"),
        (changed(lambda data: data[0].update(embedding=[1, 2, 3, float("inf")])), "infinity"),
        (changed(lambda data: data[0].update(embedding=[[1], [2]])), "2 dimensions"),
        (changed(lambda data: data[0].update(embedding=["a"])), "protocol"),
        (changed(lambda data: data[0].update(embedding="not base64!")), "protocol"),
        (changed(lambda data: data[0].update(embedding="AAAA")), "protocol"),
        (changed(lambda data: data[0].pop("embedding")), "embedding"),
        (openai(change=lambda answer: {"data": None}), "protocol"),
        (openai(change=lambda answer: []), "protocol"),
        (raw(b'{"data": [{"index": 0, "embedd'), "not JSON"),
        (raw(b""), "not JSON"),
        (raw(b"<html>It works!</html>"), "not JSON"),
        (raw(b"\xff\xfe\x00"), "not JSON"),
    ],
)
def test_an_invalid_answer_raises_and_gives_no_vectors(
    stand_in: StandIn, answer: Answer, reason: str
) -> None:
    stand_in.answer = answer
    remote = engine(stand_in)
    with pytest.raises(RemoteAnswerInvalid, match=reason):
        remote.embed(["a", "b"])
    assert len(stand_in.requests) == 1
    stand_in.answer = openai()
    np.testing.assert_array_equal(remote.embed(["a", "b"]).vectors.array(), expected("a", "b"))


def test_a_changed_dimension_raises(stand_in: StandIn) -> None:
    remote = engine(stand_in)
    remote.embed(["a"])
    stand_in.answer = changed(lambda data: data[0].update(embedding=[1.0, 2.0]))
    with pytest.raises(RemoteAnswerInvalid, match="length 2, not 4 as before"):
        remote.embed(["a"])


def test_one_failed_batch_fails_the_call(stand_in: StandIn) -> None:
    stand_in.script.append(status(400, "no"))
    with pytest.raises(RemoteRefused):
        engine(stand_in).embed([f"text {n}" for n in range(20)], batch_size=5)


def test_the_circuit_opens_and_retries_after_a_pause(stand_in: StandIn) -> None:
    stand_in.answer = status(500)
    remote = engine(stand_in, limits=QUICK._replace(attempts=5))
    with pytest.raises(RemoteUnavailable, match="HTTP 500"):
        remote.embed(["a"])
    requests = len(stand_in.requests)
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=r"failed repeatedly.* in ") as open_circuit:
        remote.embed(["a"])
    assert time.monotonic() - began < 5
    assert len(stand_in.requests) == requests
    stand_in.answer = openai()
    time.sleep(open_circuit.value.retry_in or 0)
    np.testing.assert_array_equal(remote.embed(["a"]).vectors.array(), expected("a"))
    np.testing.assert_array_equal(remote.embed(["b"]).vectors.array(), expected("b"))


# Secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [status(401, f"Incorrect API key: {KEY}"), reset, raw(b"{")])
def test_the_key_is_in_no_message_log_or_representation(
    stand_in: StandIn, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.answer = answer
    url = stand_in.url.replace("http://", "http://user:hunter2@")
    remote = RemoteEngine(RemoteAddress("openai", "m", url), KEY, limits=QUICK)
    with caplog.at_level(logging.DEBUG), pytest.raises(HotstartError) as failed:
        remote.embed(["a"])
    texts = [caplog.text, repr(remote), json.dumps(failed.value.__dict__, default=str)]
    error: BaseException | None = failed.value
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    for text in texts:
        assert KEY not in text
        assert "hunter2" not in text


def test_the_key_is_not_sent_to_a_redirect(stand_in: StandIn) -> None:
    elsewhere = StandIn()
    stand_in.answer = status(307, "", Location=f"{elsewhere.url}/embeddings")
    with pytest.raises(RemoteRefused):
        engine(stand_in).embed(["a"])
    assert elsewhere.requests == []
    elsewhere.stop()


# Metrics ----------------------------------------------------------------------------------


def test_metrics_count_requests_retries_and_failures(stand_in: StandIn) -> None:
    remote = engine(stand_in)
    stand_in.script.extend([status(500), status(500)])
    remote.embed(["a"])
    stand_in.script.append(status(404))
    with pytest.raises(RemoteRefused):
        remote.embed(["a"])
    metrics = {(f.name, f.labels.get("reason")): f.value for f in remote.metrics()}
    assert metrics["hotstart_remote_requests_total", None] == 4
    assert metrics["hotstart_remote_retries_total", None] == 2
    assert metrics["hotstart_remote_failures_total", "RemoteUnavailable"] == 2
    assert metrics["hotstart_remote_failures_total", "RemoteRefused"] == 1
    assert metrics["hotstart_remote_circuit_open", None] == 0
