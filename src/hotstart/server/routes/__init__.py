"""What route groups share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from hotstart.server.auth import Access
from hotstart.server.service import Service


class Route(NamedTuple):
    """One route of a group.

    Attributes:
        path: with names in braces.
        endpoint: what answers.
        method: of HTTP.
        summary: for the OpenAPI document.
        answers: an example of the answer, or the type of its content where that is no JSON.
        errors: statuses it may answer with beside those that every route may.
    """

    path: str
    endpoint: Callable[..., Any]
    method: str
    summary: str
    answers: Any = None
    errors: tuple[int, ...] = ()


class Group:
    """A group of routes over one service.

    Attributes:
        tag: what they are for, in the OpenAPI document.
        counted: whether their requests are of those that the service counts.
        access: who may ask, where no gate stands before the routes; None where one does.
    """

    tag = ""
    counted = True

    def __init__(self, service: Service) -> None:
        self.service = service
        self.access: Access | None = None

    def routes(self) -> tuple[Route, ...]:
        """Return them."""
        raise NotImplementedError
