"""The routes of the registry: status, predictions, load and reload, search."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import Response

from hotstart.errors import HotstartError, InvalidInput
from hotstart.kinds.conversion import plain
from hotstart.pool.aio import in_thread
from hotstart.server.responses import json_response
from hotstart.server.routes import Group, Route
from hotstart.server.schemas import LoadBody, NoBody, PredictBody, ReloadBody, SearchBody
from hotstart.server.status import health, overview

_STATES = {"models": {"churn": {"status": "ready", "reason": "loaded in 0.170 s"}}}
_COUNTS = {"total_models": 1, "loaded_models": 1, "failed_models": 0, "skipped_models": 0}
_OVERVIEW = {
    "service": {"status": "healthy"},
    "is_loaded": True,
    **_COUNTS,
    "models": [{"name": "churn", "model_type": "sklearn", "status": "ready"}],
}
_RELOADED = {"status": "success", "loaded_count": 1, "failed_count": 0, **_STATES}
_HEALTH = {
    "status": "healthy",
    "message": "1 of 1 models are loaded",
    "loaded_models": 1,
    "failed_models": 0,
    "ready": 1,
    "loading": 0,
    "failed": 0,
    "skipped": 0,
    "unloaded": 0,
    "models": _STATES["models"],
}
_MODELS = {"models": ["churn"], "loaded": ["churn"], "failed": {}, "skipped": {}}
_PREDICTION = {"output": [0.9, 0.1], "model": "churn", "version": "v2", "reason": None}
_HIT = {
    "path": "docs/guide.md",
    "start_line": 1,
    "end_line": 9,
    "heading": "Guide > Install",
    "text": "Install it with ...",
    "score": 0.75,
    "found_by": ["lexical", "semantic"],
    "parts": {"words": 1.02, "semantic": 1.7, "document": -0.5},
    "others": [
        {"path": "docs/guide.md", "start_line": 40, "end_line": 52, "heading": "Guide > Use"}
    ],
    "is_current": True,
    "line": 3,
    "lines": [{"number": 3, "text": "Install it with ...", "matches": [[0, 7]]}],
    "note": None,
}
_SEARCH = {
    "hits": [_HIT],
    "mode": "hybrid",
    "reason": None,
    "seconds": 0.004,
    "model": "all-MiniLM-L6-v2",
    "engine": "onnx",
}


class Models(Group):
    """`/api/v1/models`. Loading, unloading, reloading and rollback need the admin key."""

    tag = "Models"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        model = "/api/v1/models/{name}"
        return (
            Route.get(
                "/api/v1/models/registry", self.registry, "Get the status of everything", _OVERVIEW
            ),
            Route.get("/api/v1/models/health", self.health, "Get each model's health", _HEALTH),
            Route.get("/api/v1/models/models", self.models, "List the models", _MODELS),
            Route.post(model + "/predict", self.predict, "Ask a model of any kind", _PREDICTION),
            Route.post("/api/v1/models/reload", self.reload, "Reload models", _RELOADED),
            Route.post(model + "/load", self.load, "Load a model", _STATES),
            Route.post(model + "/unload", self.unload, "Unload a model", _STATES),
            Route.post(model + "/rollback", self.rollback, "Restore the previous route", _STATES),
        )

    async def registry(self) -> Response:
        """Return the status of the service and of each model."""
        return json_response(await in_thread(overview, self.service))

    async def health(self) -> Response:
        """Return how many models are in each state, and why."""
        return json_response(health(self.service))

    async def models(self) -> Response:
        """List all models by name, then the loaded, the failed and the skipped ones."""
        registry = self.service.registry
        return json_response(
            {
                "models": list(registry.models()),
                "loaded": registry.loaded_models,
                "failed": registry.failed_models,
                "skipped": registry.skipped_models,
            }
        )

    async def predict(self, name: str, body: PredictBody) -> Response:
        """Return the answer of a model of any kind, or of its fallback."""
        service = self.service
        name = service.info(name).name
        await in_thread(service.check_inputs, body.inputs)
        service.keep(name, body)
        prediction = await service.registry.apredict(
            name, body.inputs, key=body.key, timeout=service.limit(body.timeout)
        )
        answer = prediction._asdict() | {"output": await in_thread(plain, prediction.output)}
        try:
            return json_response(answer)
        except TypeError as error:
            expected = "a model whose answers are JSON values"
            raise InvalidInput("model", got=f"{name} ({error})", expected=expected) from error

    async def reload(self, body: ReloadBody) -> Response:
        """Reload models. A model whose reload fails keeps serving its old version."""
        registry = self.service.registry
        names = registry.loaded_models if body.models is None else body.models
        names = [self.service.info(name).name for name in names]
        errors: dict[str, str] = {}
        for name in names:
            try:
                await in_thread(registry.reload, name, waits=True)
            except HotstartError as error:
                errors[name] = str(error)
        loaded = len(names) - len(errors)
        outcome = {
            "status": "success" if not errors else "partial" if loaded else "failed",
            "loaded_count": loaded,
            "failed_count": len(errors),
        }
        return self._states(names, errors, outcome)

    async def load(self, name: str, body: LoadBody) -> Response:
        """Start loading a model; wait up to `timeout` seconds."""
        name = self.service.info(name).name
        self.service.keep(name, body)
        self.service.registry.start_loading(name)
        if body.timeout:
            await self.service.registry.await_ready(name, self.service.limit(body.timeout))
        return self._states([name])

    async def unload(self, name: str, body: NoBody) -> Response:
        """Free the memory of a model once the calls in flight have ended."""
        name = self.service.info(name).name
        await in_thread(self.service.registry.unload, name, waits=True)
        return self._states([name])

    async def rollback(self, name: str, body: NoBody) -> Response:
        """Restore the route before the last change."""
        name = self.service.info(name).name
        limit = self.service.limit(None)

        def roll_back() -> object:
            return self.service.registry.rollback(name, timeout=limit)

        await in_thread(roll_back, waits=True)
        return self._states([name])

    def _states(
        self,
        names: list[str],
        errors: dict[str, str] | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> Response:
        """Return the state of each model, with the error of a failed reload, and its outcome."""
        health_of = health(self.service)["models"]
        states = {name: health_of[name] for name in names}
        for name, error in (errors or {}).items():
            states[name] = states[name] | {"error": error}
        return json_response({**(outcome or {}), "models": states})


class Search(Group):
    """The route `/search`."""

    tag = "Search"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        return (Route.post("/search", self.search, "Search the index", _SEARCH),)

    async def search(self, body: SearchBody) -> Response:
        """Return the best chunks, the search mode, and the reason for a lesser mode."""
        limit = self.service.limit(body.timeout)
        deadline = limit if body.timeout is None else min(body.timeout, limit)
        self.service.check_texts([body.query], "query")
        self.service.keep_searching(body)
        content = await in_thread(self._answer, body, deadline, waits=True)
        return json_response(content)

    def _answer(self, body: SearchBody, timeout: float) -> dict[str, Any]:
        index = self.service.index
        answer = index.search(body.query, body.top_k, timeout, min_score=body.min_score)
        content = asdict(answer)
        for hit, fields in zip(answer.hits, content["hits"], strict=True):
            fields.update(index.excerpt(answer.query, hit).fields())
            del fields["folder"]  # where it lies on the server is nobody's business
        return content
