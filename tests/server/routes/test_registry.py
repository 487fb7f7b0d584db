"""The registry's own routes."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from hotstart.engines.fake import fake_control
from support.golden import FAMILIES, ROOT
from support.server import Serve, Served

ADMIN = {"authorization": "Bearer admin"}


def test_predict_answers_for_any_kind(served: Served) -> None:
    answer = served.post("/api/v1/models/fake/predict", {"inputs": ["a", "b"], "key": "me"}).json()
    assert (answer["model"], answer["version"], answer["reason"]) == ("fake", "1", None)
    assert len(answer["output"]) == 2
    assert len(answer["output"][0]) == 4
    assert served.post("/api/v1/models/none/predict", {"inputs": 1}).status_code == 404
    assert served.post("/api/v1/models/a%20b/predict", {"inputs": 1}).status_code == 400


def test_null_is_an_input(serve: Serve) -> None:
    served = serve({"m": {"kind": "custom", "source": "builtins:dict"}})
    served.registry.set_model("own", lambda inputs: [inputs])
    answer = served.post("/api/v1/models/own/predict", {"inputs": None, "key": None})
    assert answer.json()["output"] == [None]


def test_model_error_is_500_and_others_still_answer(serve: Serve) -> None:
    served = serve()
    served.registry.set_model("broken", lambda inputs: 1 / 0)
    served.registry.set_model("odd", lambda inputs: object())
    served.registry.set_model("fine", lambda inputs: {"sum": sum(inputs)})
    broken = served.post("/api/v1/models/broken/predict", {"inputs": 1})
    assert broken.status_code == 500
    assert "ZeroDivisionError" in broken.json()["detail"]
    assert served.post("/api/v1/models/odd/predict", {"inputs": 1}).status_code == 400
    fine = served.post("/api/v1/models/fine/predict", {"inputs": [1, 2]})
    assert fine.json()["output"] == {"sum": 3}


def test_overview_describes_each_model(served: Served) -> None:
    served.post("/v1/embeddings", {"model": "minilm", "input": "a"})
    told = served.get("/api/v1/models/registry").json()
    memory = told["service"]["memory"]
    assert memory["limit"] >= memory["left"] > 0
    assert told["service"]["status"] == "healthy"
    assert told["service"]["keys"] == {"api": False, "admin": True}
    models = {model["name"]: model for model in told["models"]}
    assert models.keys() == served.registry.models().keys()
    minilm = models["minilm"]
    assert (minilm["status"], minilm["engine"], minilm["dimension"]) == ("ready", "onnx", 384)
    assert minilm["versions"][0]["calls"] >= 1
    assert minilm["versions"][0]["share"] == 1.0
    assert {lane["lane"] for lane in minilm["lanes"]} == {"interactive", "bulk"}
    assert [stage["stage"] for stage in minilm["timeline"]][-1] == "fast_start"
    assert all(stage["end"] >= stage["start"] for stage in minilm["timeline"])
    assert models["cached"]["cache"].keys() >= {"hits", "misses", "entries", "bytes"}
    assert models["rows"]["lanes"] == []


def test_health_counts_states(serve: Serve) -> None:
    served = serve(
        {
            "good": {"source": "fake:name=good"},
            "slow": {"source": "fake:hang_load=true,name=slow-health"},
            "bad": {"source": "fake:fail_loads=99,name=bad-health"},
        }
    )
    served.wait_for("degraded")
    told = served.get("/api/v1/models/health").json()
    assert told["models"]["slow"]["status"] == "loading"
    assert "set to fail" in told["models"]["bad"]["reason"]
    names = served.get("/api/v1/models/models").json()
    assert names["models"] == ["good", "slow", "bad"]
    assert names["failed"].keys() == {"bad"}
    fake_control("slow-health").release()


def test_admin_loads_and_unloads(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:name=loaded"}}, admin_key="admin", models=())
    served.wait_for("healthy")
    assert not served.registry.is_loaded("fake")
    loaded = served.post("/api/v1/models/fake/load", {"timeout": 5}, headers=ADMIN).json()
    assert loaded["models"]["fake"]["status"] == "ready"
    unloaded = served.post("/api/v1/models/fake/unload", {}, headers=ADMIN).json()
    assert unloaded["models"]["fake"]["status"] == "unloaded"
    assert served.post("/api/v1/models/none/load", {}, headers=ADMIN).status_code == 404
    assert served.post("/api/v1/models/fake/load", {}).status_code == 401


def test_reload_keeps_old_model_on_failure(serve: Serve) -> None:
    served = serve(
        {"good": {"source": "fake:name=again"}, "other": {"source": "fake:name=other"}},
        admin_key="admin",
    )
    served.wait_for("healthy")
    reloaded = served.post("/api/v1/models/reload", {}, headers=ADMIN).json()["models"]
    assert reloaded.keys() == {"good", "other"}
    assert "reloaded" in reloaded["good"]["reason"]
    only = served.post("/api/v1/models/reload", {"models": ["good"]}, headers=ADMIN).json()
    assert only["models"].keys() == {"good"}
    assert fake_control("again").loads == 3
    assert fake_control("other").loads == 2
    unknown = served.post("/api/v1/models/reload", {"models": ["none"]}, headers=ADMIN)
    assert unknown.status_code == 404


def test_rollback_restores_route(serve: Serve) -> None:
    versions: dict[str, Any] = {"versions": {"a": "fake:name=a", "b": "fake:name=b"}}
    served = serve({"two": {**versions, "version": "a"}}, admin_key="admin")
    served.registry.set_route("two", {"b": 1})
    assert served.post("/api/v1/models/two/rollback", {}, headers=ADMIN).status_code == 200
    assert served.registry.info("two").version == "a"
    assert served.post("/api/v1/models/two/rollback", {}, headers=ADMIN).status_code == 400


def test_request_waits_for_load_up_to_timeout(serve: Serve) -> None:
    served = serve({"slow": {"source": "fake:hang_load=true,name=slow-asked"}}, timeout=5)
    began = time.monotonic()
    late = served.post("/v1/embeddings", {"model": "slow", "input": "a", "timeout": 0.1})
    assert late.status_code == 503
    assert late.headers["retry-after"] == "1"
    assert "loading" in late.json()["error"]["message"]
    assert time.monotonic() - began < 3
    threading.Timer(0.2, fake_control("slow-asked").release).start()
    assert served.post("/v1/embeddings", {"model": "slow", "input": "a"}).status_code == 200


def test_keep_alive_of_request_applies(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:name=kept-alive"}})
    served.wait_for("healthy")
    served.post("/v1/embeddings", {"model": "fake", "input": "a", "keep_alive": 0.05})
    deadline = time.monotonic() + 5
    while served.registry.is_loaded("fake"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    served.post("/embed", {"inputs": "a", "model": "fake", "keep_alive": -1})
    time.sleep(0.2)
    assert served.registry.is_loaded("fake")


def test_full_queue_returns_429_with_retry_after(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:name=full,encode_seconds=0.5"}})
    served.wait_for("healthy")
    texts = ["word " * 400] * 2000  # a million tokens, about
    answers: list[int] = []

    def ask() -> None:
        body = {"model": "fake", "input": texts, "timeout": 1}
        answers.append(served.post("/v1/embeddings", body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 429 in answers
    assert set(answers) <= {429, 504}


def examples() -> list[tuple[str, Any]]:
    """Return each route with its JSON in docs/registry.md."""
    page = (ROOT / "docs" / "registry.md").read_text(encoding="utf-8")
    section = page[page.index("## JSON of the registry") :]
    section = section[: section.index("\n## ", 5)]
    found = re.findall(r"`((?:GET|POST) /\S+)`.*?```json\n(.*?)```", section, re.DOTALL)
    return [(route, json.loads(example)) for route, example in found]


def assert_like(told: Any, documented: Any, *, whole: bool) -> None:
    """Compare keys and types; with `whole`, the documentation has every key."""
    assert type(told) is type(documented), (told, documented)
    if isinstance(documented, dict):
        assert told.keys() >= documented.keys()
        assert not whole or told.keys() == documented.keys()
        for key, value in documented.items():
            assert_like(told[key], value, whole=whole)
    if isinstance(documented, list):
        assert len(told) == len(documented)
        for one, other in zip(told, documented, strict=True):
            assert_like(one, other, whole=whole)


def test_the_documented_json_is_what_the_server_answers(serve: Serve) -> None:
    served = serve({"churn": {"source": "fake:dimension=4"}}, admin_key="admin")
    served.wait_for("healthy")
    documented = examples()
    assert len(documented) == 4
    for route, example in documented:
        method, path = route.split()
        body = {"json": {}, "headers": {"x-api-key": "admin"}} if method == "POST" else {}
        told = served.client.request(method, path, **body).json()  # type: ignore[arg-type]
        assert_like(told, example, whole=not path.endswith("/registry"))
        for key in ("status", "is_loaded", "total_models", "loaded_models", "failed_models"):
            assert told.get(key) == example.get(key)


def test_a_failed_reload_is_counted(serve: Serve, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FAMILIES / "bert-cls-mean" / "model", folder)
    served = serve({"good": {"source": "fake:"}, "bad": {"source": str(folder)}}, admin_key="admin")
    served.wait_for("healthy")
    (folder / "config.json").write_text("[]")
    headers = {"x-api-key": "admin"}
    told = served.post("/api/v1/models/reload", {}, headers=headers).json()
    assert [told[key] for key in ("status", "loaded_count", "failed_count")] == ["partial", 1, 1]
    assert "error" in told["models"]["bad"]
