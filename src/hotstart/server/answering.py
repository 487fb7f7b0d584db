"""A route that answers errors as problems, is timed, and goes on the caller's trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from hotstart.errors import HotstartError
from hotstart.server.middleware import refused
from hotstart.server.problems import problem, problem_of, unforeseen
from hotstart.server.routes.base import Group
from hotstart.tracing import continued, span

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class AnsweringRoute(APIRoute):
    """A route whose errors never reach the application around it.

    Its name is its own path, without what a prefix or a mount puts before it: by that one it is
    decided who may ask, and how errors are told.
    """

    def get_route_handler(self) -> Handler:
        """Return what answers a request."""
        handle, route, own = super().get_route_handler(), self.path, self.name
        group: Group = self.endpoint.__self__  # type: ignore[attr-defined]

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            with continued(request.headers), span("http", route=route, method=request.method):
                denied = group.access and refused(request.scope, group.access, own)
                response = denied or await _answered(handle, request, own)
            if group.counted:
                took = time.perf_counter() - began
                group.service.figures.note(route, response.status_code, took)
            return response

        return answer


class _JsonRequest(Request):
    """A request whose JSON orjson reads: faster, and strict about Unicode and numbers."""

    async def json(self) -> Any:
        """Return what the body says."""
        return orjson.loads(await self.body())


async def _answered(handle: Handler, request: Request, own: str) -> Response:
    try:
        return await handle(_JsonRequest(request.scope, request.receive))
    except RequestValidationError as error:
        return problem(own, 400, *_told(error))
    except HotstartError as error:
        return problem_of(own, error)
    except Exception as error:
        logger.exception("%s %s failed", request.method, request.url.path)
        return unforeseen(own, error)


def _told(error: RequestValidationError) -> tuple[str, str]:
    """The facts of what is first wrong with a request, and the remedy."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the body"
    said = str(first["msg"]).removeprefix("Value error, ")
    more = len(error.errors()) - 1
    also = f" (and {more} more)" if more else ""
    return f"{where}: {said}{also}", "See /openapi.json for what is taken"
