"""The base of route groups, whose routes are methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hotstart.server.auth import Access
from hotstart.server.service import Service


class Route(NamedTuple):
    """One route of a group.

    Attributes:
        method: HTTP method.
        path: path with parameter names in braces.
        endpoint: the method that handles a request.
        summary: summary in the OpenAPI document.
        example: example of the JSON response, or a tuple of examples of its forms; the media type
            of another response.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    summary: str
    example: Any

    @classmethod
    def get(cls, path: str, endpoint: Callable[..., Any], summary: str, example: Any) -> Route:
        """Return a route for GET."""
        return cls("GET", path, endpoint, summary, example)

    @classmethod
    def post(cls, path: str, endpoint: Callable[..., Any], summary: str, example: Any) -> Route:
        """Return a route for POST."""
        return cls("POST", path, endpoint, summary, example)


class Group:
    """A group of routes over one service.

    Attributes:
        tag: tag of the group in the OpenAPI document.
        counted: include these routes in the request metrics.
        names_models: whether `{name}` in a path is the name of a model, which may have a slash.
        access: access rules if no middleware enforces them; None otherwise.
    """

    tag = ""
    counted = True
    names_models = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self.access: Access | None = None

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of this group."""
        raise NotImplementedError
