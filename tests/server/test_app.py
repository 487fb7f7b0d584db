"""The application as others have it: in a program of their own, on their trace, by their keys."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import hotstart
from hotstart import ModelRegistry
from hotstart.engines.fake import fake_control
from hotstart.pool.pool import Pool
from hotstart.registry.config import read_config
from hotstart.server import mounted
from hotstart.server.config import ServerConfig
from hotstart.server.service import service_of


def registry(**models: Any) -> ModelRegistry:
    return ModelRegistry(read_config({"models": models}), pool=Pool())


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOTSTART_API_KEY", raising=False)
    monkeypatch.delenv("HOTSTART_ADMIN_KEY", raising=False)


def test_router_and_lifespan_serve_in_own_application() -> None:
    held = registry(fake={"source": "fake:name=own-program"})
    app = FastAPI(lifespan=hotstart.lifespan(held))
    app.include_router(hotstart.router(held))

    @app.get("/mine")
    def mine() -> str:
        return "mine"

    with TestClient(app) as client:
        answer = client.post("/v1/embeddings", json={"model": "fake", "input": "a"})
        assert answer.status_code == 200
        assert client.get("/mine").json() == "mine"
        assert client.post("/v1/embeddings", json={"model": "none", "input": "a"}).json()["error"]
        assert client.post("/embed", json={"inputs": 7}).json()["detail"]
        assert "/v1/embeddings" in client.get("/openapi.json").json()["paths"]
    assert held.is_loaded("fake")  # it is the program's own, and stays


def test_router_enforces_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSTART_API_KEY", "user")
    held = registry(fake={"source": "fake:name=own-keys"})
    app = FastAPI(lifespan=hotstart.lifespan(held))
    app.include_router(hotstart.router(held))
    with TestClient(app) as client:
        body = {"model": "fake", "input": "a"}
        assert client.post("/v1/embeddings", json=body).status_code == 401
        key = {"authorization": "Bearer user"}
        assert client.post("/v1/embeddings", json=body, headers=key).status_code == 200
        assert client.post("/api/v1/models/reload", json={}, headers=key).status_code == 403
        assert client.get("/livez").status_code == 200


def test_lifespan_loads_in_background() -> None:
    held = registry(slow={"source": "fake:hang_load=true,name=own-slow"})
    app = FastAPI(lifespan=hotstart.lifespan(held))
    app.include_router(hotstart.router(held))
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 503
        fake_control("own-slow").release()


def test_application_can_be_restarted() -> None:
    held = registry(fake={"source": "fake:name=own-again"})
    app = FastAPI(lifespan=hotstart.lifespan(held))
    app.include_router(hotstart.router(held))
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post("/embed", json={"inputs": "a"}).status_code == 200
            assert client.get("/readyz").status_code == 200


def test_unknown_model_to_load_fails_at_start() -> None:
    held = registry(fake={"source": "fake:"})
    config = ServerConfig(models=("none",))
    app = FastAPI(lifespan=hotstart.lifespan(held, config))
    with pytest.raises(hotstart.HotstartError, match="no model 'none'"), TestClient(app):
        pass
    searched = ServerConfig(index=".", index_model="none")
    app = FastAPI(lifespan=hotstart.lifespan(held, searched))
    with pytest.raises(hotstart.HotstartError, match="no model 'none'"), TestClient(app):
        pass


def test_mounted_application_needs_no_lifespan() -> None:
    held = registry(fake={"source": "fake:name=within"})
    client = TestClient(mounted(held))
    assert client.post("/embed", json={"inputs": "a"}).status_code == 200
    assert client.get("/readyz").status_code == 200


def _with_prefix(held: ModelRegistry) -> FastAPI:
    app = FastAPI()
    app.include_router(hotstart.router(held), prefix="/x")
    return app


def _with_mount(held: ModelRegistry) -> FastAPI:
    app = FastAPI()
    app.mount("/x", mounted(held))
    return app


@pytest.mark.parametrize("below", [_with_prefix, _with_mount])
def test_access_rules_hold_under_path_prefix(
    below: Callable[[ModelRegistry], FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOTSTART_API_KEY", "user")
    monkeypatch.setenv("HOTSTART_ADMIN_KEY", "admin")
    held = registry(fake={"source": f"fake:name={below.__name__}"})
    client = TestClient(below(held))
    user, admin = ({"authorization": f"Bearer {key}"} for key in ("user", "admin"))
    body = {"model": "fake", "input": "a"}
    assert client.post("/x/v1/embeddings", json=body, headers=user).status_code == 200
    assert client.post("/x/v1/embeddings", json=body).json()["error"]["code"] == "invalid_api_key"
    asked = {"inputs": ["a"]}
    predict = client.post("/x/api/v1/models/fake/predict", json=asked, headers=user)
    assert predict.status_code == 200
    unload = "/x/api/v1/models/fake/unload"
    assert client.post(unload, json={}, headers=user).status_code == 403
    assert client.post(unload, json={}, headers=admin).status_code == 200
    assert client.get("/x/livez").status_code == 200
    assert "dashboard/app.js" in client.get("/x/").text
    assert client.get("/x/dashboard/app.js").status_code == 200


def test_registry_has_one_service_for_its_lifetime() -> None:
    held = registry(fake={"source": "fake:"})
    assert service_of(held) is service_of(held)
    gone = weakref.ref(held)
    held.close()
    del held
    gc.collect()
    assert gone() is None


def test_request_continues_trace_of_caller() -> None:
    pytest.importorskip("opentelemetry.sdk", reason="in the dev extra")
    from support.tracing import exported

    exporter = exported()
    held = registry(fake={"source": "fake:name=traced-over-http"})
    held.load_all()
    exporter.clear()
    transport = httpx.ASGITransport(mounted(held))

    async def ask() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
            headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
            body = {"model": "fake", "input": "a secret"}
            answer = await client.post("/v1/embeddings", json=body, headers=headers)
            assert answer.status_code == 200

    asyncio.run(ask())
    spans: dict[str, Any] = {span.name: span for span in exporter.get_finished_spans()}
    chain = ["hotstart.engine", "hotstart.batch", "hotstart.embed", "hotstart.http"]
    for inner, outer in itertools.pairwise(chain):
        assert spans[inner].parent.span_id == spans[outer].context.span_id, inner
    assert spans["hotstart.queue"].parent.span_id == spans["hotstart.embed"].context.span_id
    http = spans["hotstart.http"]
    assert format(http.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert http.attributes["hotstart.route"] == "/v1/embeddings"
    assert not [span for span in spans.values() if "secret" in str(span.attributes)]
