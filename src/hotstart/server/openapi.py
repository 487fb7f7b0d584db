"""The OpenAPI document: schemas and errors of each route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
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
        "detail": {"type": "string", "description": "What went wrong."},
        "remedy": {"type": "string", "description": "How to fix it; empty if `detail` says it."},
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
    400: "Invalid request; the response names the fault.",
    401: "The API key is missing or wrong.",
    403: "The key or the origin does not allow this request.",
    404: "The model, version, index or path does not exist.",
    405: "Method not allowed.",
    408: "The request body did not arrive in time.",
    413: "The request body is too large.",
    415: "The request body is not JSON.",
    421: "The Host header names another server.",
    429: "Too many requests are waiting.",
    500: "The model raised an error.",
    502: "A remote model service failed.",
    503: "The model is not ready, or its load failed.",
    504: "The timeout expired before the response was ready.",
}


def errors_of(route: Route) -> dict[int | str, dict[str, Any]]:
    """Return every response of `route` in the form of FastAPI's `responses`."""
    openai = route.path.startswith(("/v1/", "/embeddings", "/models"))
    content = (
        {"application/json": {"schema": _OPENAI_ERROR}}
        if openai
        else {"application/problem+json": {"schema": _PROBLEM}}
    )
    responses: dict[int | str, dict[str, Any]] = {
        status: {"description": _WHY[status], "content": content} for status in STATUS_CODES
    }
    if route.path in {"/readyz", "/startupz"}:
        responses[503] = {
            "description": "Not ready yet, or shutting down.",
            "content": _json({"status": "loading"}),
        }
    for status in (429, 503):
        responses[status]["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}
        }
    responses[200] = {"description": route.summary, "content": _content(route.example)}
    return responses


def documented(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    """Return the endpoint of the document, which is composed on the first request."""

    async def openapi() -> Response:
        return json_response(described(app))

    return openapi


def page(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    """Return the endpoint of a page that lists the routes. It loads nothing from other sites."""

    async def docs() -> Response:
        rows = [
            f"<tr><td>{method.upper()}<td><code>{escape(path)}</code><td>"
            f"{escape(operation.get('summary', ''))}"
            for path, operations in described(app)["paths"].items()
            for method, operation in operations.items()
        ]
        content = _PAGE.replace("ROWS", "\n".join(rows))
        return Response(content, headers=_PAGE_POLICY, media_type="text/html; charset=utf-8")

    return docs


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>hotstart: routes</title>
<style>
body { font: 16px/1.5 system-ui; margin: 2rem; max-width: 60rem }
td { padding: .1rem 1rem .1rem 0 }
</style>
<h1>Routes</h1>
<p>Schemas, examples and errors: <a href="/openapi.json">/openapi.json</a>.
<table>
ROWS
</table>
"""
_PAGE_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of `app` without FastAPI's 422 responses."""
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            operation.get("responses", {}).pop("422", None)
    security = {"bearer": {"type": "http", "scheme": "bearer"}}
    document.setdefault("components", {})["securitySchemes"] = security
    document["security"] = [{}, {"bearer": []}]
    return document


def _content(answers: Any) -> dict[str, Any]:
    if isinstance(answers, str):
        return {answers: {"schema": {"type": "string"}}}
    return _json(answers)


def _json(example: Any) -> dict[str, Any]:
    """Return the content of JSON like `example`, or like one of the examples of a tuple."""
    examples = example if isinstance(example, tuple) else (example,)
    schemas = [_schema(each) for each in examples]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    return {"application/json": {"schema": schema, "example": examples[0]}}


def _schema(example: Any) -> dict[str, Any]:
    return {"type": "array", "items": {}} if isinstance(example, list) else {"type": "object"}
