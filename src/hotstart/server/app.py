"""The FastAPI application: route groups over one service.

Another application includes the routes with

    app = FastAPI(lifespan=hotstart.lifespan(registry))
    app.include_router(hotstart.router(registry))

Each route then checks the keys; that application checks Host and Origin.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware

from hotstart._version import __version__
from hotstart.errors import HotstartError
from hotstart.registry.registry import ModelRegistry
from hotstart.server.auth import Access, access_of
from hotstart.server.config import ServerConfig
from hotstart.server.middleware import AccessMiddleware, refused
from hotstart.server.openapi import documented, errors_of, page
from hotstart.server.responses import problem, problem_of, unforeseen
from hotstart.server.routes import Group, Route
from hotstart.server.routes.openai import OpenAI
from hotstart.server.routes.ops import Dashboard, Health
from hotstart.server.routes.registry import Models, Search
from hotstart.server.routes.tei import TextEmbeddingsInference
from hotstart.server.schemas import BodyTooLarge, ignored_fields, parsed
from hotstart.server.service import Service, service_of
from hotstart.telemetry import continued, span

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AnsweringRoute(APIRoute):
    """A FastAPI route that turns every error into a problem response.

    Its name is its path without the prefix of a router or mount. Access rules and the form of
    errors depend on that path.
    """

    def get_route_handler(self) -> Handler:
        """Return the handler, wrapped so that no error escapes."""
        handle = super().get_route_handler()
        route = self.path.replace(":path", "")
        own = self.name
        group: Group = self.endpoint.__self__  # type: ignore[attr-defined]

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            read = _JsonRequest(request, group.service.config.max_characters)
            ignored_fields.set(())
            with continued(request.headers), span("http", route=route, method=request.method):
                denied = group.access and refused(request.scope, group.access, own)
                response = denied or await _answered(handle, read, own)
                if ignored := ignored_fields.get():
                    response.headers["x-ignored-fields"] = ", ".join(ignored)
            if group.counted:
                seconds = time.perf_counter() - began
                group.service.metrics.note(route, response.status_code, seconds)
            return response

        return answer


class _JsonRequest(Request):
    """A request that parses JSON with orjson: faster, and strict about Unicode and numbers."""

    def __init__(self, request: Request, longest: int) -> None:
        super().__init__(request.scope, request.receive)
        self._longest = longest

    async def json(self) -> Any:
        """Return the parsed body.

        Raises:
            HTTPException: the body has too many values or too long a text.
        """
        try:
            return await parsed(await self.body(), self._longest)
        except BodyTooLarge as error:
            raise HTTPException(413, str(error)) from None


async def _answered(handle: Handler, request: Request, own: str) -> Response:
    try:
        return await handle(request)
    except RequestValidationError as error:
        return _invalid(own, error)
    except HTTPException as error:
        return problem(own, error.status_code, str(error.detail), "Send less at a time")
    except HotstartError as error:
        return problem_of(own, error)
    except Exception as error:
        logger.exception("%s %s failed", request.method, request.url.path)
        return unforeseen(own, error)


_LONGEST_PLACE = 200  # characters: the name of a field is anybody's


_PLAIN = {
    "dict_type": "it must be a JSON object",
    "model_attributes_type": "it must be a JSON object",
    "string_pattern_mismatch": "it must be the name of a registered model (GET /v1/models)",
}
"""What to say instead of pydantic's words, by the type of the fault."""


def _invalid(path: str, error: RequestValidationError) -> Response:
    """Return the problem response for the first fault of a request."""
    faults = error.errors()
    first = faults[0]
    if first["type"] == "json_invalid":
        facts = f"The body is not JSON: broken at character {first['loc'][-1]}"
        return problem(path, 400, facts, "Send JSON as RFC 8259 has it")
    where = ".".join(str(part) for part in first["loc"] if part != "body")[:_LONGEST_PLACE]
    message = str(first["msg"]).removeprefix("Value error, ")
    message = _PLAIN.get(first["type"], message)
    more = len(faults) - 1
    also = f" (and {more} more)" if more else ""
    facts = f"{where or 'the body'}: {message}{also}"
    return problem(path, 400, facts, "See /openapi.json for the accepted fields")


GROUPS: tuple[type[Group], ...] = (
    OpenAI,
    TextEmbeddingsInference,
    Search,
    Models,
    Health,
    Dashboard,
)
"""In matching order: the busiest routes come first."""

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(registry: ModelRegistry, config: ServerConfig) -> FastAPI:
    """Return the application that `hotstart serve` runs. Loads nothing."""
    service = service_of(registry, config)
    app = FastAPI(
        title="hotstart",
        version=__version__,
        lifespan=_alone(service),
        docs_url=None,  # these pages load scripts from other sites
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(_routes(service, None))
    app.add_api_route("/openapi.json", documented(app), include_in_schema=False)
    app.add_api_route("/docs", page(app), include_in_schema=False)
    app.add_exception_handler(404, _unknown)
    app.add_exception_handler(405, _unknown)
    app.state.service = service
    app.add_middleware(
        AccessMiddleware,
        access=access_of(config),
        max_body=config.max_body,
        draining=service.draining,
    )
    if config.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=config.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-ignored-fields"],
        )
    return app


def router(registry: ModelRegistry, config: ServerConfig | None = None) -> APIRouter:
    """Return the routes of a registry, for another application.

    Args:
        registry: registry to serve.
        config: keys and limits; by default the keys of the environment. Addresses, hosts and
            origins are ignored: the application handles them.
    """
    service = service_of(registry, config)
    return _routes(service, access_of(service.config)._replace(hosts=None, origins=None))


def mounted(registry: ModelRegistry, config: ServerConfig | None = None) -> FastAPI:
    """Return the routes of a registry as an application to mount, without a lifespan."""
    app = FastAPI(title="hotstart", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(router(registry, config))
    return app


def lifespan(registry: ModelRegistry, config: ServerConfig | None = None) -> Lifespan:
    """Return a lifespan that starts loading the models when the application starts.

    The application starts without waiting. Its end does not unload the models.
    """
    return _living(service_of(registry, config))


def _living(service: Service) -> Lifespan:
    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    return life


def _alone(service: Service) -> Lifespan:
    """Return the lifespan of a dedicated server process, which drains on signals."""
    living = _living(service)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.draining.on_signals()
        async with living(app):
            yield

    return life


def _routes(service: Service, access: Access | None) -> APIRouter:
    api = APIRouter(route_class=AnsweringRoute)
    for group in (kind(service) for kind in GROUPS):
        group.access = access
        for route in group.routes():
            _add(api, group, route)
    return api


def _add(api: APIRouter, group: Group, route: Route) -> None:
    api.add_api_route(
        route.path.replace("{name}", "{name:path}" if group.names_models else "{name}"),
        route.endpoint,
        methods=[route.method],
        summary=route.summary,
        tags=[group.tag],
        name=route.path,
        response_model=None,
        responses=errors_of(route),
        operation_id=f"{route.method.lower()}{route.path}",
    )


async def _unknown(request: Request, error: Exception) -> Any:
    status = getattr(error, "status_code", 404)
    facts = f"No route for {request.method} {request.url.path}"
    return problem(
        request.url.path, status, facts, "See /openapi.json for the routes", code="unknown_url"
    )
