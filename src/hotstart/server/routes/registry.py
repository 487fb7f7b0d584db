"""The registry's own routes: what there is, how it fares, and asking any of it."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import Response

from hotstart.errors import HotstartError, InvalidInput
from hotstart.kinds.conversion import plain
from hotstart.pool.aio import in_thread
from hotstart.server.responses import json_response
from hotstart.server.routes import Group, Route
from hotstart.server.schemas import LoadBody, NoBody, PredictBody, ReloadBody, SearchBody
from hotstart.server.status import health, overview

_STATES = {"models": {"churn": {"status": "ready", "reason": "loaded in 0.170 s"}}}


class Models(Group):
    """`/api/v1/models`. Who loads, unloads, reloads or rolls back is the administrator."""

    tag = "Models"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        counted = {"ready": 1, "loading": 0, "failed": 0, "skipped": 0, "unloaded": 0}
        return (
            Route(
                *("/api/v1/models/registry", self.registry, "GET", "Tell everything there is"),
                {"service": {"status": "healthy"}, "models": [{"name": "churn"}]},
            ),
            Route(
                *("/api/v1/models/health", self.health, "GET", "Tell how the models fare"),
                {"status": "healthy", **counted, **_STATES},
            ),
            Route(
                *("/api/v1/models/models", self.models, "GET", "List the models"),
                {"models": ["churn"], "loaded": ["churn"], "failed": {}, "skipped": {}},
            ),
            Route(
                *("/api/v1/models/{name}/predict", self.predict, "POST", "Ask a model"),
                {"output": [0.9, 0.1], "model": "churn", "version": "v2", "reason": None},
            ),
            Route(
                *("/api/v1/models/reload", self.reload, "POST", "Load models anew"),
                _STATES,
            ),
            Route("/api/v1/models/{name}/load", self.load, "POST", "Load a model", _STATES),
            Route("/api/v1/models/{name}/unload", self.unload, "POST", "Unload a model", _STATES),
            Route(
                *("/api/v1/models/{name}/rollback", self.rollback, "POST"),
                *("Lead requests as before the last change", _STATES),
            ),
        )

    async def registry(self) -> Response:
        """Tell everything there is to see of the service and its models."""
        return json_response(await in_thread(overview, self.service))

    async def health(self) -> Response:
        """Tell how many models are in which state, and why."""
        return json_response(health(self.service))

    async def models(self) -> Response:
        """List the models by name, and those that answer, that failed, and that were skipped."""
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
        """Ask a model of any kind; its fallback answers where it is not ready in time."""
        service = self.service
        service.info(name)
        service.keep(name, body)
        told = await service.registry.apredict(
            name, body.inputs, key=body.key, timeout=service.limit(body.timeout)
        )
        answer = told._asdict() | {"output": await in_thread(plain, told.output)}
        try:
            return json_response(answer)
        except TypeError as error:
            expected = "a model whose answers JSON can say"
            raise InvalidInput("model", got=f"{name} ({error})", expected=expected) from error

    async def reload(self, body: ReloadBody) -> Response:
        """Load models anew beside what serves, and swap them in; what fails serves on as it was."""
        registry = self.service.registry
        names = registry.loaded_models if body.models is None else body.models
        for name in names:
            self.service.info(name)
        errors: dict[str, str] = {}
        for name in names:
            try:
                await in_thread(registry.reload, name, waits=True)
            except HotstartError as error:
                errors[name] = str(error)
        return self._states(names, errors)

    async def load(self, name: str, body: LoadBody) -> Response:
        """Begin to load a model; with a `timeout`, wait for it that long."""
        self.service.info(name)
        self.service.keep(name, body)
        self.service.registry.load(name)
        if body.timeout:
            await self.service.registry.ready(name, self.service.limit(body.timeout))
        return self._states([name])

    async def unload(self, name: str, body: NoBody) -> Response:
        """Give a model's memory back once the calls in flight have ended."""
        self.service.info(name)
        await in_thread(self.service.registry.unload, name, waits=True)
        return self._states([name])

    async def rollback(self, name: str, body: NoBody) -> Response:
        """Lead requests as they were led before the last change of the route."""
        self.service.info(name)
        limit = self.service.limit(None)

        def roll_back() -> object:
            return self.service.registry.rollback(name, timeout=limit)

        await in_thread(roll_back, waits=True)
        return self._states([name])

    def _states(self, names: list[str], errors: dict[str, str] | None = None) -> Response:
        """What became of the models; of those whose reload failed, why."""
        told = health(self.service)["models"]
        states = {name: told[name] for name in names}
        for name, error in (errors or {}).items():
            states[name] = states[name] | {"error": error}
        return json_response({"models": states})


class Search(Group):
    """`/search`."""

    tag = "Search"

    def routes(self) -> tuple[Route, ...]:
        """Return the routes."""
        hit = {
            "path": "docs/guide.md",
            "start_line": 1,
            "end_line": 9,
            "heading": "Guide > Install",
            "text": "Install it with ...",
            "score": 0.03,
            "found_by": ["lexical", "semantic"],
        }
        answer = {
            "hits": [hit],
            "mode": "hybrid",
            "reason": None,
            "seconds": 0.004,
            "model": "all-MiniLM-L6-v2",
            "engine": "onnx",
        }
        return (Route("/search", self.search, "POST", "Search the index", answer),)

    async def search(self, body: SearchBody) -> Response:
        """Answer with the chunks that answer best, how they were found, and why not better."""
        limit = self.service.limit(body.timeout)
        deadline = limit if body.timeout is None else min(body.timeout, limit)
        self.service.check_texts([body.query], "query")
        self.service.keep_searching(body)
        found = await in_thread(
            self.service.index.search, body.query, body.top_k, deadline, waits=True
        )
        return json_response(asdict(found))
