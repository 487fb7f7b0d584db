from __future__ import annotations

import threading
import time

from hotstart.pool.instance import Instance, KeepAliveTimer


def test_it_counts_from_the_last_touch() -> None:
    called = threading.Event()
    clock = KeepAliveTimer(0.2, lambda seconds: called.set())
    began = time.monotonic()
    for _ in range(5):
        clock.touch()
        time.sleep(0.08)
    assert not called.is_set()
    assert called.wait(60)
    assert time.monotonic() - began >= 0.4


def test_a_model_is_given_back_keep_alive_after_its_last_use_and_loaded_again_on_demand() -> None:
    closed: list[str] = []
    instance = Instance("m", lambda stage, report, beside: "model", closed.append, keep_alive=0.1)
    with instance.lease():
        time.sleep(0.3)
        assert instance.state == "ready"  # in use, whatever the clock says
    deadline = time.monotonic() + 10
    while instance.status().state != "unloaded" and time.monotonic() < deadline:
        time.sleep(0.005)
    assert closed == ["model"]
    assert instance.status().reason == "not used for 0.1 s"
    assert instance.wait(60)
    assert instance.status().loads == 2
