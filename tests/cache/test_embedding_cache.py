"""Each vector is computed once: by threads, tasks and processes; and whoever leaves harms none."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hotstart import Embedder
from hotstart.cache.codec import VectorSpace
from hotstart.cache.embedding_cache import Abandoned, EmbeddingCache, Lookup, SpaceChanged
from hotstart.concurrency import Deadline
from hotstart.engines.fake import fake_control
from hotstart.errors import LoadFailed, StillComputing
from hotstart.pool.pool import Pool
from hotstart.types import EmbedOutput, Matrix, ModelInfo
from support.redis_server import RedisServer
from support.waiting import until, wait_until

CARD = ModelInfo(3, None, {}, None, "space")
SPACE = VectorSpace("m", None, "space", "fake", "", "", None)
WORKER = Path(__file__).parents[1] / "data" / "ask_in_a_process.py"


class Model:
    """Computes when it is let; counts what."""

    def __init__(self) -> None:
        self.computed: Counter[str] = Counter()
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.fails: BaseException | None = None

    def __call__(self, texts: Sequence[str]) -> EmbedOutput:
        self.begun.release()
        assert self.go.wait(60)
        if self.fails:
            raise self.fails
        self.computed.update(texts)
        return EmbedOutput(Matrix.of(np.stack([vector(text) for text in texts])), CARD)


def vector(text: str) -> Any:
    return np.full(3, sum(text.encode()), np.float32)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def cache() -> EmbeddingCache:
    return EmbeddingCache("memory:1MB")


def fulfil(
    cache: EmbeddingCache,
    lookup: Lookup,
    model: Callable[[Sequence[str]], EmbedOutput],
    timeout: float | None = None,
) -> None:
    with cache.fulfil(lookup, timeout) as work:
        for texts in work:
            work.put(model(texts))


def ask(cache: EmbeddingCache, model: Model, *texts: str, timeout: float | None = 20) -> Any:
    deadline = Deadline(timeout)
    while True:
        lookup = cache.begin(texts, SPACE)
        if lookup.mine:
            fulfil(cache, lookup, model, deadline.left)
        if wait(lookup.awaited.values(), deadline.left).not_done:
            raise StillComputing(len(texts), after=timeout)
        try:
            return lookup.vectors()
        except SpaceChanged:
            raise
        except Abandoned:
            continue


def test_vectors_come_in_the_order_asked_for(cache: EmbeddingCache, model: Model) -> None:
    model.go.set()
    ask(cache, model, "b")
    found = ask(cache, model, "a", "b", "c", "a")
    np.testing.assert_array_equal(found, [vector(text) for text in "abca"])
    assert model.computed == {"a": 1, "b": 1, "c": 1}
    account = cache.info()
    assert (account.near, account.computed, account.stores.entries) == (1, 3, 3)


def test_a_thousand_identical_questions_cost_one(cache: EmbeddingCache, model: Model) -> None:
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(ask, cache, model, "same") for _ in range(1000)]
        model.begun.acquire(timeout=60)
        model.go.set()
        for one in asked:
            np.testing.assert_array_equal(one.result(60), [vector("same")])
    assert model.computed == {"same": 1}


def test_an_error_is_told_to_all_who_wait_and_kept_for_nobody(
    cache: EmbeddingCache, model: Model
) -> None:
    model.fails = RuntimeError("no")
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, cache, model, "a", "b") for _ in range(8)]
        wait_until(lambda: cache.info().joined >= 14)
        model.go.set()
        assert {str(one.exception(60)) for one in asked} == {"no"}
    model.fails = None
    np.testing.assert_array_equal(ask(cache, model, "a"), [vector("a")])


@pytest.mark.parametrize("gives_up", [TimeoutError("mine"), KeyboardInterrupt()])
def test_who_gives_up_leaves_the_work_to_the_others(
    cache: EmbeddingCache, model: Model, gives_up: BaseException
) -> None:
    impatient = Model()
    impatient.fails = gives_up
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, cache, impatient, "a")
        impatient.begun.acquire(timeout=60)
        second = pool.submit(ask, cache, model, "a")
        wait_until(lambda: cache.info().joined == 1)
        impatient.go.set()
        model.go.set()
        assert first.exception(60) is gives_up
        np.testing.assert_array_equal(second.result(60), [vector("a")])
    assert model.computed == {"a": 1}


def test_an_engine_that_ran_out_of_time_is_told_to_who_set_none(
    cache: EmbeddingCache, model: Model
) -> None:
    model.fails = TimeoutError("the engine's")
    model.go.set()
    lookup = cache.begin(["a"], SPACE)
    with pytest.raises(TimeoutError):
        fulfil(cache, lookup, model)
    with pytest.raises(TimeoutError, match="the engine's"):
        lookup.vectors()


def test_a_model_that_was_loaded_anew_puts_nothing_under_the_old_name(
    cache: EmbeddingCache,
) -> None:
    other = ModelInfo(3, None, {}, None, "another space")
    lookup = cache.begin(["a"], SPACE)
    with pytest.raises(SpaceChanged):
        fulfil(cache, lookup, lambda texts: EmbedOutput(Matrix(bytes(12), 3), other))
    with pytest.raises(SpaceChanged):
        lookup.vectors()
    assert cache.info().stores.entries == 0


def test_a_deadline_is_the_askers_own(cache: EmbeddingCache, model: Model) -> None:
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(ask, cache, model, "a")
        model.begun.acquire(timeout=60)
        began = time.monotonic()
        with pytest.raises(StillComputing, match=r"0\.05 s"):
            ask(cache, model, "a", timeout=0.05)
        assert time.monotonic() - began < 2
        model.go.set()
        np.testing.assert_array_equal(patient.result(60), [vector("a")])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_the_parents_computation(
    cache: EmbeddingCache, model: Model
) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, cache, model, "a")
        model.begun.acquire(timeout=60)
        child = os.fork()
        if not child:
            own = Model()
            own.go.set()
            found = ask(cache, own, "a")
            os._exit(0 if found.tolist() == [vector("a").tolist()] else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        model.go.set()
        asked.result(60)


# By way of an embedder ------------------------------------------------------------------


def fake(name: str, cache: str | EmbeddingCache, **settings: object) -> Embedder:
    said = "".join(f",{key}={value}" for key, value in settings.items())
    return Embedder(f"fake:name={name}{said}", cache=cache, pool=Pool())


def test_tasks_share_one_computation_and_a_cancelled_one_harms_nobody() -> None:
    embedder = fake("tasks", EmbeddingCache("memory:1MB"), hang_encode="true")

    async def main() -> list[Any]:
        asked = [asyncio.create_task(embedder.aencode("same")) for _ in range(1000)]
        await until(lambda: fake_control("tasks").embedded["same"])
        asked[0].cancel()
        fake_control("tasks").release()
        return await asyncio.gather(*asked, return_exceptions=True)

    first, *others = asyncio.run(main())
    assert isinstance(first, asyncio.CancelledError)
    expected = Embedder("fake:").encode("same")
    assert all(np.array_equal(one, expected) for one in others)
    assert fake_control("tasks").embedded == {"same": 1}


def test_the_deadline_of_a_task_is_kept_and_the_work_goes_on() -> None:
    embedder = fake("late", EmbeddingCache("memory:1MB"), hang_encode="true")
    embedder.wait_ready()

    async def main() -> Any:
        with pytest.raises(StillComputing):
            await embedder.aencode("text", timeout=0.05)
        await until(lambda: fake_control("late").embedded["text"])
        fake_control("late").release()
        return await embedder.aencode("text", timeout=60)

    assert asyncio.run(main()).shape == (8,)
    assert fake_control("late").embedded == {"text": 1}


def test_a_hit_needs_no_model() -> None:
    cache = EmbeddingCache("memory:1MB")
    kept = fake("kept", cache).encode(["a", "b"])
    again = fake("kept", cache)
    np.testing.assert_array_equal(again.encode(["b", "a"]), kept[::-1])
    assert again.state == "unloaded"
    np.testing.assert_array_equal(asyncio.run(again.aencode("a")), kept[0])
    assert again.state == "unloaded"


def test_options_are_applied_to_what_was_kept_too() -> None:
    embedder = fake("options", EmbeddingCache("memory:1MB"))
    for _ in range(2):
        assert embedder.encode("a", truncate_dim=3).shape == (3,)
        assert embedder.encode(["a"], precision="binary").shape == (1, 1)
        assert len(embedder.encode(["a", "b"], convert_to_numpy=False)) == 2
        assert embedder.encode([]).shape == (0, 8)
    assert embedder.encode("a", prompt="p: ").tolist() != embedder.encode("a").tolist()
    assert fake_control("options").embedded == {"a": 1, "b": 1, "p: a": 1}


def test_what_is_handed_out_is_the_callers_own() -> None:
    embedder = fake("own", EmbeddingCache("memory:1MB"))
    embedder.encode("a")[:] = 0
    assert embedder.encode("a").any()


def test_a_failed_load_is_not_kept() -> None:
    embedder = fake("failing", EmbeddingCache("memory:1MB"), fail_loads=1)
    with pytest.raises(LoadFailed):
        embedder.encode("a")
    wait_until(lambda: _has_answered(embedder))


def _has_answered(embedder: Embedder) -> bool:
    try:
        return bool(embedder.encode("a").any())
    except LoadFailed:  # the back-off
        return False


def test_embedders_of_one_address_share_what_they_keep(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'vectors.db'}"
    one, other = fake("shared", url), fake("shared", url)
    one.encode("a")
    other.encode("a")
    assert fake_control("shared").embedded == {"a": 1}
    assert one.cache_info() == other.cache_info()
    assert (one.cache_info().hits, one.cache_info().misses) == (1, 1)


# Between processes ----------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path / 'vectors.db'}"
        return
    server = RedisServer().start()
    yield server.url
    server.stop()


def begin(url: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), url, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    told: dict[str, Any] = json.loads(said.splitlines()[-1])
    return told


def test_processes_compute_each_text_once_and_no_vector_is_wrong(shared: str) -> None:
    """8 processes, 500 questions each, nine of ten of them repeats."""
    told = [outcome(process) for process in [begin(shared, 500, 50, seed) for seed in range(8)]]
    computed: Counter[str] = Counter()
    for one in told:
        computed.update(one["embedded"])
    assert len(computed) == 50
    assert {*computed.values()} == {1}
    assert sum(one["wrong"] for one in told) == 0


def test_a_holder_that_dies_is_taken_over_from(shared: str) -> None:
    holder = begin(shared, 1, 1, 0, "hang")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "computing\n"
    waiting = begin(shared, 1, 1, 0, "short lease")
    time.sleep(0.5)
    assert waiting.poll() is None
    began = time.monotonic()
    with pytest.raises(StillComputing):
        Embedder("fake:name=process,encode_seconds=0.005", cache=shared).encode(
            "text 0", timeout=0.2
        )
    assert time.monotonic() - began < 1.5
    holder.send_signal(signal.SIGKILL)
    holder.wait(60)
    holder.stdout.close()
    assert outcome(waiting)["embedded"] == {"text 0": 1}
