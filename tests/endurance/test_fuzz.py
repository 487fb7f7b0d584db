"""Mutated model folders, request bodies and HTTP streams: no crash, no hang, no raw error."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.serving import Process, serving

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
FOLDERS = int(os.environ.get("HOTSTART_TESTS_FOLDERS", "5000"))
BODIES = int(os.environ.get("HOTSTART_TESTS_BODIES", "2000"))
STREAMS = int(os.environ.get("HOTSTART_TESTS_STREAMS", "1000"))
MOST_MEGABYTES = 500
MOST_SECONDS = 5.0 * 6  # a busy machine


@pytest.mark.parametrize("seed", range(4))
def test_mutated_model_folders(seed: int, tmp_path: Path) -> None:
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    done = subprocess.run(
        [sys.executable, str(HERE / "fuzzed_folders.py"), str(seed), str(FOLDERS // 4)],
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "PYTHONPATH": str(HERE.parent), "TMPDIR": place},
    )
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-3000:]}"
    told = json.loads(done.stdout.splitlines()[-1])
    print(seed, told["count"], told["outcomes"], told["slowest"], told["megabytes"])
    assert told["faults"] == []
    assert told["slowest"] < MOST_SECONDS
    assert told["megabytes"] < MOST_MEGABYTES
    assert told["outcomes"]["vectors"] > 0.2 * told["count"]


CONFIG = """
[server]
max_texts = 100
max_characters = 1000
timeout = 5
[models.fake]
source = "fake:dimension=8"
[models.ranker]
kind = "reranker"
source = "{ranker}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    ranker = HERE.parent / "data" / "rerankers" / "bert" / "model"
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, CONFIG.format(ranker=ranker)) as started:
        started.wait_for("/readyz")
        yield started
        assert started.end() == 0


VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        0,
        1,
        2.5,
        2**63,
        1e308,
        "",
        "a",
        "a" * 2000,
        "../x",
        "fake",
        "ranker",
    ),
    *(
        "\x00",
        "é" * 50,
        [],
        {},
        ["a"],
        ["a"] * 200,
        [1, 2],
        [["a"]],
        {"text": "a"},
        [{"text": "a"}],
    ),
    *([{"text": "a"}], [None], "query", "float", "base64", "int8", {"a": {"b": [1]}}),
]
BASES: list[tuple[str, dict[str, Any]]] = [
    ("/v1/embeddings", {"model": "fake", "input": ["a", "b"], "dimensions": 4}),
    ("/embeddings", {"input": "a", "encoding_format": "base64"}),
    ("/embed", {"inputs": ["a"], "normalize": True, "truncate": True}),
    ("/rerank", {"query": "a", "texts": ["b", "c"], "return_text": True}),
    ("/v1/rerank", {"model": "ranker", "query": "a", "documents": ["b", {"text": "c"}]}),
    ("/search", {"query": "a", "top_k": 3}),
    ("/api/v1/models/fake/predict", {"inputs": ["a"], "key": "k"}),
    ("/api/v1/models/ranker/predict", {"inputs": [["a", "b"]]}),
]
KEYS = sorted({key for _, body in BASES for key in body} | {"timeout", "keep_alive", "task", "x"})


def mutated_body(chance: random.Random) -> tuple[str, bytes]:
    path, base = chance.choice(BASES)
    body: Any = json.loads(json.dumps(base))
    for _ in range(chance.choice([1, 1, 2, 3])):
        roll = chance.random()
        if roll < 0.7:
            body[chance.choice(KEYS)] = chance.choice(VALUES)
        elif roll < 0.85 and body:
            del body[chance.choice(sorted(body))]
        else:
            key = chance.choice(sorted(base))
            if isinstance(body.get(key), list):
                body[key].append(chance.choice(VALUES))
    raw = bytearray(json.dumps(body).encode())
    if chance.random() < 0.2:
        for _ in range(chance.randrange(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
    return path, bytes(raw)


def test_mutated_bodies(server: Process) -> None:
    chance = random.Random(1)
    statuses: Counter[int] = Counter()
    headers = {"content-type": "application/json"}
    with server.client() as client:
        for _ in range(BODIES):
            path, body = mutated_body(chance)
            answer = client.post(path, content=body, headers=headers)
            statuses[answer.status_code] += 1
            assert answer.status_code in {200, 400, 404, 413}, (path, body, answer.text)
            assert len(answer.content) < 100_000
            if answer.status_code != 200:
                told = answer.json()
                assert told.get("detail") or told["error"]["message"], (path, body, answer.text)
    print(BODIES, statuses)
    assert statuses[200] > 0.1 * BODIES


def mutated_stream(chance: random.Random) -> bytes:
    _, body = mutated_body(chance)
    host = chance.choice([b"localhost", b"localhost", b"evil.example", b"", b"a" * 300])
    length = b"%d" % len(body)
    lines = [
        chance.choice([b"POST /embed HTTP/1.1", b"GET /livez HTTP/1.1", b"BREW / HTTP/1.1"]),
        b"host: " + host,
        b"content-type: application/json",
        b"content-length: " + chance.choice([length] * 8 + [b"-1", b"9" * 30, b"0", b"x"]),
        chance.choice([b"x: y"] * 4 + [b"transfer-encoding: chunked", b"expect: 100-continue"]),
    ]
    if chance.random() < 0.1:
        chance.shuffle(lines)
    raw = bytearray(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    for _ in range(chance.choice([0, 0, 1, 2])):
        at = chance.randrange(len(raw))
        raw[at : at + chance.choice([0, 1, 5])] = chance.randbytes(chance.choice([0, 1, 8]))
    return bytes(raw)


def test_raw_streams(server: Process) -> None:
    chance = random.Random(2)
    answered: Counter[bytes] = Counter()
    port = int(server.url.rpartition(":")[2])
    with server.client() as client:
        for number in range(STREAMS):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                try:
                    connection.sendall(mutated_stream(chance))
                    connection.settimeout(0.2)  # a request that is not whole has no answer yet
                    answered[connection.recv(65536)[:12]] += 1
                except TimeoutError:
                    answered[b"waiting"] += 1
                except OSError:
                    answered[b"reset"] += 1
            if number % 50 == 0:
                assert client.get("/livez").status_code == 200
        assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    print(STREAMS, dict(answered))
    assert b"HTTP/1.1 500" not in answered
