"""The registry on a real Ray of this machine, with two replicas."""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray import serve

from hotstart import Embedder
from hotstart.errors import InvalidInput, LoadFailed, NotReady, UnknownModel
from hotstart.integrations.ray_serve import ModelRaised, ReplicaStatus, application
from support.golden import ROOT
from support.redis_server import RedisServer

pytestmark = pytest.mark.integrations

WHERE = {"kind": "custom", "source": "integrations.ray_models:where"}
LITTLE = {
    "ray_actor_options": {"num_cpus": 0.1},
    "graceful_shutdown_timeout_s": 2,
    "graceful_shutdown_wait_loop_s": 0.1,
}
HEARS = 1.0  # seconds until Ray's router has surely heard which replica holds what: it takes 0.1
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A Ray of its own, in which Serve listens on this port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chosen: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, pytest.MonkeyPatch.context() as env:
        env.setenv("RAY_USAGE_STATS_ENABLED", "0")
        env.setenv("PYTHONPATH", str(ROOT / "tests"))  # of the replicas
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=100_000_000,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=folder,  # short: a socket's path may have about 100 letters
        )
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": chosen})
            yield chosen
            serve.shutdown()
        finally:
            ray.shutdown()


@pytest.fixture
def run(port: int) -> Iterator[Run]:
    """Run a registry of these models on two replicas; return its handle."""

    def start(models: dict[str, Any], **options: Any) -> Any:
        said = {"min_replicas": 2, "max_replicas": 2, **LITTLE, **options}
        return serve.run(application({"models": models}, **said), name="tested")

    yield start
    serve.delete("tested")


def statuses(handle: Any, number: int = 2, within: float = 60.0) -> dict[int, ReplicaStatus]:
    """What so many replicas tell of themselves, by process."""
    told: dict[int, ReplicaStatus] = {}
    deadline = time.monotonic() + within
    while len(told) < number:
        assert time.monotonic() < deadline, f"only {list(told)} answered"
        for response in [handle.status.remote() for _ in range(8)]:
            status = response.result(timeout_s=20)
            told[status.pid] = status
    return told


def until(found: Callable[[], Any], within: float = 60.0) -> Any:
    deadline = time.monotonic() + within
    while not (value := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return value


def ready(status: ReplicaStatus) -> set[str]:
    return {name for name, said in status.models.items() if said == "ready"}


def test_two_replicas_answer_and_a_killed_one_is_replaced(run: Run) -> None:
    handle = run({"where": WHERE, "fake": {"source": "fake:"}}, health_check_period_s=1)
    first = statuses(handle)
    answered: set[int] = set()

    def both() -> bool:
        answered.add(handle.predict.remote("where", None).result().output)
        return answered == set(first)

    until(both)
    gone = next(iter(first))
    os.kill(gone, signal.SIGKILL)
    later = until(lambda: set(statuses(handle)) - set(first))
    assert gone not in later
    assert handle.predict.remote("where", None, timeout=20).result().version == "1"


def test_the_vectors_are_those_of_an_embedder(run: Run) -> None:
    handle = run({"default": {"source": "all-MiniLM-L6-v2"}}, ready_within=60)
    assert all(ready(status) == {"default"} for status in statuses(handle).values())
    vectors = handle.embed.remote(["one", "another"], "default").result()
    assert np.abs(vectors - Embedder().encode(["one", "another"])).max() < 1e-5
    assert handle.embed.remote("one", "default", truncate_dim=8).result().shape == (8,)


def test_calls_wait_for_a_load_or_say_how_far_it_is(run: Run) -> None:
    handle = run({"slow": {"source": "fake:load_seconds=3"}})
    with pytest.raises(NotReady) as caught:
        handle.predict.remote("slow", ["a"], timeout=0.05).result()
    assert caught.value.state == "loading"
    assert caught.value.facts.startswith("Model 'fake:load_seconds=3' is loading")
    assert handle.predict.remote("slow", ["a"]).result().output.shape == (1, 8)


def test_errors_come_as_what_they_are(run: Run) -> None:
    ours = "integrations.ray_models"
    handle = run(
        {
            "where": WHERE,
            "broken": {"source": "fake:fail_loads=9"},
            "raising": {"kind": "custom", "source": f"{ours}:raising"},
        }
    )
    with pytest.raises(UnknownModel):
        handle.predict.remote("nobody", 1).result()
    with pytest.raises(LoadFailed) as caught:
        handle.embed.remote("a", "broken").result()
    assert "Fix the cause" in caught.value.remedy
    with pytest.raises(InvalidInput, match="an embedding model"):
        handle.embed.remote("a", "where").result()
    with pytest.raises(ModelRaised, match="NotForThePost: two arguments"):
        handle.predict.remote("raising", 1).result()


def test_a_replica_holds_no_more_models_than_it_may(run: Run) -> None:
    names = [f"m{number}" for number in range(5)]
    handle = run(dict.fromkeys(names, WHERE), models_per_replica=2)

    def at_most_two() -> bool:
        told = statuses(handle).values()
        return all(len(ready(s)) <= 2 and len(s.leased) <= 2 for s in told)

    for name in names * 2:
        asked = handle.options(multiplexed_model_id=name)
        assert asked.predict.remote(name, None).result().model == name
        until(at_most_two)
    assert all(len(ready(status)) == 2 for status in statuses(handle).values())


def test_requests_go_where_their_model_is(run: Run) -> None:
    handle = run({"a": WHERE, "b": WHERE, "c": WHERE}, models_per_replica=1)
    asked = handle.options(multiplexed_model_id="c")
    holder = asked.predict.remote("c", None).result().output
    until(lambda: "c" in statuses(handle)[holder].leased)
    time.sleep(HEARS)
    assert {asked.predict.remote("c", None).result().output for _ in range(20)} == {holder}


def test_replicas_are_added_while_calls_wait(run: Run) -> None:
    handle = run(
        {"slow": {"source": "fake:encode_seconds=0.5"}},
        min_replicas=1,
        autoscaling={"target_ongoing_requests": 1, "upscale_delay_s": 0},
    )
    assert len(statuses(handle, 1)) == 1

    def two() -> bool:
        waiting = [handle.predict.remote("slow", ["a"]) for _ in range(8)]
        assert all(answer.result().output.shape == (1, 8) for answer in waiting)
        deployments = serve.status().applications["tested"].deployments
        return bool(deployments["hotstart"].replica_states.get("RUNNING") == 2)

    until(two, within=90)  # Ray counts every 10 s


def test_a_replica_that_can_answer_nothing_is_replaced(run: Run, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    model = {
        "kind": "custom",
        "source": "integrations.ray_models:only_without",
        "options": {"path": str(flag), "seconds": 2.0},
    }
    handle = run({"model": model}, health_check_period_s=0.2)
    first = set(statuses(handle))
    assert first
    until(lambda: not first & set(statuses(handle)))
    flag.unlink()
    until(lambda: all(ready(status) for status in statuses(handle).values()))


def test_a_vector_is_computed_once_by_two_replicas(run: Run) -> None:
    redis = RedisServer().start()
    try:
        shared = {"source": "fake:name=shared", "cache": redis.url}
        embedded = {"kind": "custom", "source": "integrations.ray_models:embedded"}
        handle = run({"shared": shared, "embedded": embedded})
        wanted = set(statuses(handle))
        responses = [handle.embed.remote(["the same text"], "shared") for _ in range(40)]
        vectors = [response.result() for response in responses]
        assert np.ptp(np.stack(vectors), axis=0).max() == 0
        told: dict[int, dict[str, int]] = {}

        def both() -> bool:
            pid, counts = handle.predict.remote("embedded", "shared").result().output
            told[pid] = counts
            return set(told) == wanted

        until(both)
        assert sum(counts.get("the same text", 0) for counts in told.values()) == 1
    finally:
        redis.stop()


def test_http_is_answered_by_the_router_with_the_model_of_the_header(run: Run, port: int) -> None:
    handle = run({"a": WHERE, "b": WHERE}, models_per_replica=1, ready_within=30)

    def ask(name: str) -> dict[str, Any]:
        place = f"http://127.0.0.1:{port}/api/v1/models/{name}/predict"
        request = urllib.request.Request(place, b'{"inputs": null}')
        request.add_header("content-type", "application/json")
        request.add_header("serve_multiplexed_model_id", name)
        with urllib.request.urlopen(request, timeout=30) as answer:
            told: dict[str, Any] = json.load(answer)
        return told

    holder = ask("b")["output"]
    time.sleep(HEARS)
    assert "b" in statuses(handle)[holder].leased
    assert {ask("b")["output"] for _ in range(10)} == {holder}
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask("nobody")  # the routes say what is not there
    assert caught.value.code == 404
    assert "a, b" in json.load(caught.value)["detail"]
