from __future__ import annotations

from collections.abc import Callable
from subprocess import CompletedProcess

from hotstart.models.spec import ModelSpec
from hotstart.pool.pool import Pool, default_pool


def test_equal_specs_share_an_instance_and_making_one_loads_nothing() -> None:
    pool = Pool()
    one = pool.instance(ModelSpec("m", strategy="lazy"))
    assert one is pool.instance(ModelSpec("m", strategy="eager"))
    assert one is not pool.instance(ModelSpec("m", "v1"))
    assert one.state == "unloaded"
    assert pool.loading() == []


def test_there_is_one_pool_for_a_process() -> None:
    assert default_pool() is default_pool()


def test_a_process_that_ends_while_a_model_loads_ends_well(
    python: Callable[..., CompletedProcess[str]],
) -> None:
    done = python("-c", "from hotstart import Embedder; Embedder().start_loading()")
    assert (done.returncode, done.stderr) == (0, "")
