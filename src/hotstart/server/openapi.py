"""The OpenAPI document: schemas and errors of each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Response

from hotstart.server.responses import STATUS_CODES, json_response
from hotstart.server.routes import Route

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "remedy"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is the matter."},
        "remedy": {"type": "string", "description": "What to do about it."},
    },
}
_OPENAI_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_WHY = {
    400: "It cannot be asked that: the answer says what is the matter.",
    401: "A key is needed.",
    403: "It is not allowed.",
    404: "There is no such thing.",
    405: "Not by that method.",
    408: "The request was not there whole in time.",
    413: "The request is too large.",
    415: "The request is not JSON.",
    421: "No server of that name is here.",
    429: "Too much waits already.",
    500: "The model itself failed.",
    502: "Another machine that it asks failed.",
    503: "It is not ready, or cannot be.",
    504: "It was not done in time.",
}


def errors_of(route: Route) -> dict[int | str, dict[str, Any]]:
    """Return everything `route` may answer with, as FastAPI takes it."""
    openai = route.path.startswith("/v1/")
    content = (
        {"application/json": {"schema": _OPENAI_ERROR}}
        if openai
        else {"application/problem+json": {"schema": _PROBLEM}}
    )
    told: dict[int | str, dict[str, Any]] = {
        status: {"description": _WHY[status], "content": content} for status in STATUS_CODES
    }
    if route.path in {"/readyz", "/startupz"}:
        told[503] = {"description": "Not yet, or no more.", "content": _json({"status": "loading"})}
    for status in (429, 503):
        told[status]["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}
        }
    told[200] = {"description": route.summary, "content": _content(route.example)}
    return told


def documented(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    """Return the endpoint that tells the document, which is composed when first asked for."""

    async def openapi() -> Response:
        return json_response(described(app))

    return openapi


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of `app`, without the 422 that FastAPI puts everywhere."""
    told = app.openapi()
    for path in told["paths"].values():
        for operation in path.values():
            operation.get("responses", {}).pop("422", None)
    security = {"bearer": {"type": "http", "scheme": "bearer"}}
    told.setdefault("components", {})["securitySchemes"] = security
    told["security"] = [{}, {"bearer": []}]
    return told


def _content(answers: Any) -> dict[str, Any]:
    if isinstance(answers, str):
        return {answers: {"schema": {"type": "string"}}}
    return _json(answers)


def _json(example: Any) -> dict[str, Any]:
    kind = "array" if isinstance(example, list) else "object"
    schema: dict[str, Any] = {"type": kind}
    if kind == "array":
        schema["items"] = {}
    return {"application/json": {"schema": schema, "example": example}}
