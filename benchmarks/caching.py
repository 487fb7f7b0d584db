"""The scenario: vectors that were computed before, from each place they may be kept in."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import Figure, Table
from benchmarks.first_light import Outcome, Scene, keep_answers, run_scene
from benchmarks.peers import Peer
from benchmarks.prepare import Workplace
from benchmarks.verdict import Verdict

LANGCHAIN = "LangChain, files"
MEMORY, FILE, REDIS = "hotstart, memory", "hotstart, SQLite", "hotstart, Redis"

FIGURES = (
    Figure("one", "One text that is kept", "µs", 1e6, ".1f", "less"),
    Figure("hundred", "100 texts that are kept", "ms", 1e3, ".3f", "less"),
    Figure("fresh", "A new text, in batches of 100", "µs", 1e6, ".1f", "less"),
)
ROUND_TRIP = Figure("round_trip", "PING, for comparison", "ms", 1e3, ".3f", "same")

_IMPORT = """\
import numpy as np
from hotstart.cache import open_cache
from hotstart.cache.codec import VectorSpace"""

_OPEN = """\
space, kept = VectorSpace("fake", None, "f" * 32, "fake", "", "", None), open_cache({url})
def embed(texts):
    keys = space.keys(texts)
    found = kept.get_many(keys)
    missing = {{key: text for key, text in zip(keys, texts) if key not in found}}
    if missing:
        fresh = dict(zip(missing, compute(list(missing.values()))))
        kept.put_many(fresh)
        found |= fresh
    return np.stack([found[key] for key in keys])"""

_LANGCHAIN_OPEN = """\
class Model(Embeddings):
    def embed_documents(self, texts):
        return compute(texts).tolist()
    def embed_query(self, text):
        return self.embed_documents([text])[0]
model = CacheBackedEmbeddings.from_bytes_store(
    Model(), LocalFileStore(FOLDER), namespace="fake", key_encoder="blake2b"
)"""

_PING = """
import redis
wire = redis.Redis(port=REDIS_PORT)
ping = wire.ping"""


def _hotstart(name: str, url: str, also: str = "") -> Peer:
    load = _OPEN.format(url=url) + also
    return Peer(name, imports=_IMPORT, load=load, one="embed([text])", many="embed(texts)")


# Of the shared places, so little is kept near that each hit is read there.
PEERS = (
    Peer(
        LANGCHAIN,
        imports="from langchain_classic.embeddings import CacheBackedEmbeddings\n"
        "from langchain_classic.storage import LocalFileStore\n"
        "from langchain_core.embeddings import Embeddings",
        load=_LANGCHAIN_OPEN,
        one="model.embed_documents([text])",
        many="model.embed_documents(texts)",
    ),
    _hotstart(MEMORY, '"memory:64MB"'),
    _hotstart(FILE, 'f"sqlite:{FOLDER}/vectors.db?near=1B"'),
    _hotstart(REDIS, 'f"redis://127.0.0.1:{REDIS_PORT}/0?near=1B&namespace={FOLDER}"', _PING),
)
NAMES = tuple(peer.name for peer in PEERS)

# The model below costs next to nothing and gives each text its own vector of 384 floats.
_PROGRAM = """\
import json, statistics, tempfile, time, zlib
import numpy as np
REDIS_PORT = {redis_port}
FOLDER = tempfile.mkdtemp()
{imports}
base, computed = np.random.default_rng(0).standard_normal((4096, 384), np.float32), 0
def compute(texts):
    global computed
    computed += len(texts)
    return base[[zlib.crc32(text.encode()) % 4096 for text in texts]]
ping = None
{load}
def embed_one(text):
    return {one}
def embed_many(texts):
    return {many}
def seconds(call, *values):
    laps = []
    for value in values:
        start = time.perf_counter()
        call(value)
        laps.append(time.perf_counter() - start)
    return statistics.median(laps)
texts = [f"How do I reset the password of account {{n}}?" for n in range(2000)]
batches = [texts[n : n + 100] for n in range(0, 2000, 100)]
answer = {{"fresh": seconds(embed_many, *batches) / 100}}
assert computed == 2000, f"{{computed}} of 2000 computed"
answer["hundred"] = seconds(embed_many, *batches * 5)
answer["one"] = seconds(embed_one, *texts)
vectors = embed_many(texts)
assert computed == 2000, "a text that was kept has been computed again"
assert np.array_equal(np.asarray(vectors, np.float32), compute(texts))
if ping:
    answer["round_trip"] = seconds(lambda _: ping(), *range(1000))
import shutil
shutil.rmtree(FOLDER)
print(json.dumps(answer))
"""


def run(place: Workplace, rounds: int) -> Outcome:
    """Run the scene and return what was found; what fails is named in it."""
    outcome = Outcome()
    with _redis_server() as port:
        scene = Scene("caching", lambda peer: program(peer, port), PEERS, keep_answers, 1)
        run_scene(scene, place, rounds, outcome)
    return outcome


def program(peer: Peer, redis_port: int) -> str:
    """Return a program that keeps vectors, asks for them again, and prints seconds as JSON."""
    return _PROGRAM.format(
        redis_port=redis_port, imports=peer.imports, load=peer.load, one=peer.one, many=peer.many
    )


def judge(table: Table) -> list[Verdict]:
    """Return the verdict on each promise, by medians."""
    verdicts = [
        Verdict(f"{name}, {figure}: times faster than {LANGCHAIN}", 3, at_most=False, found=ratio)
        for name in (MEMORY, FILE)
        for figure in ("one", "hundred")
        for ratio in [table[figure][name].ratio if name in table[figure] else None]
    ]
    trips = [table[figure].get(REDIS) for figure in ("hundred", "round_trip")]
    batch, trip = (cell.value.median if cell else None for cell in trips)
    text = "100 texts from Redis beyond one round trip, µs a text"
    beyond = 1e6 * (batch - trip) / 100 if batch and trip else None
    return [*verdicts, Verdict(text, 20, at_most=True, found=beyond)]


@contextmanager
def _redis_server() -> Iterator[int]:
    """Run a Redis that keeps nothing on disk; yields its port."""
    if shutil.which("redis-server") is None:
        raise SystemExit("redis-server is not installed. Run: apt-get install redis-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        ready = any("Ready to accept connections" in line for line in server.stdout)
        try:
            if not ready:
                raise SystemExit(f"redis-server ended with status {server.wait()}")
            yield port
        finally:
            server.kill()
