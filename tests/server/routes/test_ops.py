"""Probes, figures and events."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from hotstart.engines.fake import fake_control
from support.server import Serve, Served


def test_probes_answer_by_status_code(serve: Serve) -> None:
    served = serve({"slow": {"source": "fake:hang_load=true,name=slow-probe"}})
    assert served.get("/livez").status_code == 200
    assert served.get("/readyz").status_code == 503
    assert served.get("/startupz").status_code == 503
    assert served.get("/readyz").json() == {"status": "loading"}
    fake_control("slow-probe").release()
    served.wait_for("healthy")
    assert served.get("/readyz").status_code == 200
    assert served.get("/startupz").status_code == 200


def test_one_ready_model_is_enough_for_readyz(serve: Serve) -> None:
    served = serve(
        {
            "good": {"source": "fake:name=good-probe"},
            "bad": {"source": "fake:fail_loads=99,name=bad-probe"},
        }
    )
    served.wait_for("degraded")
    assert served.get("/readyz").status_code == 200


def test_all_failed_is_down_and_live(serve: Serve) -> None:
    served = serve({"bad": {"source": "fake:fail_loads=99,name=only-bad"}})
    served.wait_for("down")
    assert served.get("/readyz").status_code == 503
    assert served.get("/startupz").status_code == 200
    assert served.get("/livez").status_code == 200


def test_probes_load_no_model(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:name=asleep"}}, models=())
    served.wait_for("healthy")
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/api/v1/models/registry"):
        assert served.get(path).status_code == 200
    assert fake_control("asleep").loads == 0


def test_metrics_parse_as_prometheus(served: Served) -> None:
    served.post("/v1/embeddings", {"model": "fake", "input": "a"})
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    calls = {
        sample.labels["model"]: sample.value
        for sample in families["hotstart_model_calls"].samples
        if sample.name.endswith("_total")
    }
    assert calls["fake"] >= 1
    buckets = families["hotstart_http_request_seconds"].samples
    assert any(sample.labels.get("le") == "+Inf" for sample in buckets)
    assert families["hotstart_resident_memory_bytes"].samples[0].value > 1e6
    assert {s.labels["lane"] for s in families["hotstart_queue_waiting"].samples} == {
        "interactive",
        "bulk",
    }


def events(response: httpx.Response) -> Any:
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, json.loads(line.removeprefix("data: "))


def test_events_are_streamed(serve: Serve) -> None:
    served = serve({"slow": {"source": "fake:hang_load=true,name=slow-events"}})
    seen: list[tuple[str, Any]] = []
    with served.client.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for event, data in events(response):
            seen.append((event, data))
            if len(seen) == 1:
                assert (event, data["models"][0]["status"]) == ("overview", "loading")
                fake_control("slow-events").release()
            if event == "overview" and data["models"][0]["status"] == "ready":
                break
    states = [data["status"] for event, data in seen if event == "state"]
    assert states == ["ready"]


def test_stream_ends_with_service(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:name=stream-end"}})
    began = time.monotonic()
    with served.client.stream("GET", "/events") as response:
        told = events(response)
        next(told)
        loop = served.app.state.service.events
        loop._loop.call_soon_threadsafe(served.app.state.service.draining.begin)
        for _ in told:
            pass
    assert time.monotonic() - began < 5
    assert served.get("/readyz").status_code == 503
    assert served.get("/livez").headers["connection"] == "close"
