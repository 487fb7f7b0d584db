from __future__ import annotations

import threading
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hotstart.models.spec import ModelSpec
from hotstart.pool.instance import Instance
from hotstart.pool.loader import ModelFactory
from hotstart.pool.pool import Pool, default_pool
from support.waiting import wait_until


def test_equal_specs_share_an_instance_and_making_one_loads_nothing() -> None:
    pool = Pool()
    one = pool.instance(ModelSpec("m", strategy="lazy"))
    assert one is pool.instance(ModelSpec("m", strategy="eager"))
    assert one is not pool.instance(ModelSpec("m", "v1"))
    assert one.state == "unloaded"
    assert pool.loading() == []


def test_a_model_may_be_dropped_while_the_budget_reads_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool()
    size = 10**12  # more than the process can grow
    pool.hold("m", ModelFactory("m", lambda *_: object(), lambda _: None, size=lambda: size)).wait()
    peek = Instance.peek

    def peek_then_drop(instance: Instance[object]) -> object:
        model = peek(instance)
        pool.drop("m")
        return model

    monkeypatch.setattr(Instance, "peek", peek_then_drop)
    assert [resident.bytes for resident in pool.residents()] in ([size], [])
    assert pool.residents() == []


def test_a_load_that_ends_after_its_model_was_dropped_leaves_nothing() -> None:
    pool = Pool()
    loading, forgotten = threading.Event(), threading.Event()

    def load(*_: object) -> bytes:
        loading.set()
        assert forgotten.wait(60)
        return b"x" * 50_000_000

    pool.hold("m", ModelFactory("m", load, lambda _: None)).start()
    assert loading.wait(60)
    drop = threading.Thread(target=pool.drop, args=("m",))  # waits for the load
    drop.start()
    wait_until(lambda: pool.loading() == [])
    forgotten.set()
    drop.join(60)
    pool.hold("m", ModelFactory("m", lambda *_: object(), lambda _: None, size=lambda: 5))
    assert pool.size("m") == 5


def test_there_is_one_pool_for_a_process() -> None:
    assert default_pool() is default_pool()


def test_a_process_that_ends_while_a_model_loads_ends_well(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    done = python("-c", "from hotstart import Embedder; Embedder().start_loading()")
    assert (done.returncode, done.stderr) == (0, "")
