from __future__ import annotations

import threading
import time

from hotstart.pool.instance import Instance, KeepAliveTimer
from support.waiting import wait_until


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


def test_a_new_keep_alive_for_each_request_starts_no_further_thread() -> None:
    instance = Instance("m", lambda stage, report, beside: "model", lambda model: None)
    assert instance.wait(60)
    before = threading.active_count()
    for seconds in range(600):
        instance.keep_alive(100_000.0 + seconds)
    assert threading.active_count() <= before + 1
    instance.keep_alive(None)
    wait_until(lambda: not instance._keep_alive_timer._runs)
    assert instance.state == "ready"


def test_a_shorter_keep_alive_takes_effect_before_the_longer_one_ends() -> None:
    instance = Instance(
        "m", lambda stage, report, beside: "model", lambda model: None, keep_alive=100_000.0
    )
    assert instance.wait(60)
    instance.keep_alive(0.0)
    wait_until(lambda: instance.state == "unloaded")
