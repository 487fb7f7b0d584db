"""Access control: one pure decision over a table of areas.

A path without a row does not exist, so that new routes are closed by default.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from hotstart.server.config import LOOPBACK, ServerConfig

Area = Literal["probe", "public", "user", "admin"]

_READ = frozenset({"GET", "HEAD"})
_ASK = frozenset({"POST"})
_NAME = r"[^/]+(?:/[^/]+)?"  # a model's name may be owner/name

AREAS: tuple[tuple[frozenset[str], str, Area], ...] = (
    (_READ, r"/(livez|readyz|startupz|health|ping)", "probe"),
    (_READ, r"/|/dashboard/[^/]+|/favicon\.ico", "public"),
    (_READ, rf"(/v1)?/models(/{_NAME})?|/info|/metrics|/events|/openapi\.json|/docs", "user"),
    (_READ, r"/api/v1/models/(registry|health|models)", "user"),
    (_ASK, r"/|(/v1)?/(embeddings|rerank)|/embed|/search", "user"),
    (_ASK, rf"/api/v1/models/{_NAME}/predict", "user"),
    (_ASK, rf"/api/v1/models/(reload|{_NAME}/(load|unload|rollback))", "admin"),
)
_COMPILED = tuple((methods, re.compile(path), area) for methods, path, area in AREAS)


class RequestFacts(NamedTuple):
    """The facts of a request that access depends on; None for an absent header.

    The path is that of the request, or that of the route with parameter names in braces.
    """

    method: str
    path: str
    host: str | None
    origin: str | None
    key: str | None


class Refusal(NamedTuple):
    """The reason why a request is refused.

    Attributes:
        status: HTTP status.
        facts: the reason.
        remedy: how to fix it.
        allow: the methods that the path answers, for the header of 405.
    """

    status: int
    facts: str
    remedy: str
    allow: str = ""


class Access(NamedTuple):
    """The access rules of a server.

    Attributes:
        api_key: SHA-256 of the API key; None if no key is required.
        admin_key: SHA-256 of the admin key; None if there is none.
        hosts: allowed names of the Host header; None for any.
        origins: allowed origins of other sites; None for any.
    """

    api_key: bytes | None = None
    admin_key: bytes | None = None
    hosts: frozenset[str] | None = None
    origins: frozenset[str] | None = frozenset()


def access_of(config: ServerConfig) -> Access:
    """Return the access rules of a server with `config`.

    A foreign site can point its own name to this machine (DNS rebinding). A local server therefore
    accepts only local names. Browsers do not use Unix sockets, and a server on the network requires
    a key.
    """
    named = frozenset(config.hosts)
    local = frozenset({*LOOPBACK, config.host.lower()}) if config.is_local else frozenset[str]()
    any_host = config.uds is not None or not (config.is_local or named)
    return Access(
        _digest(config.api_key),
        _digest(config.admin_key),
        None if any_host else frozenset(host.lower() for host in named | local),
        frozenset(config.origins),
    )


def refusal(request: RequestFacts, access: Access) -> Refusal | None:
    """Return why `request` is refused; None if it is allowed."""
    return (
        _host_refused(request, access) or _origin_refused(request, access) or _key(request, access)
    )


def area_of(method: str, path: str) -> Area | None:
    """Return the area that a request belongs to; None if there is no such route."""
    for methods, pattern, area in _COMPILED:
        if method in methods and pattern.fullmatch(path):
            return area
    return None


def _unknown(method: str, path: str) -> Refusal:
    """Return the refusal of a request that no route answers."""
    others = {
        name for methods, pattern, _ in _COMPILED if pattern.fullmatch(path) for name in methods
    }
    if others:
        facts = f"{path} does not answer {method}"
        remedy = f"Use {' or '.join(sorted(others))}; /docs lists the routes"
        return Refusal(405, facts, remedy, allow=", ".join(sorted(others)))
    return Refusal(404, f"There is no route {path}", "See /docs or /openapi.json for the routes")


def _host_refused(request: RequestFacts, access: Access) -> Refusal | None:
    if access.hosts is None or _without_port(request.host or "") in access.hosts:
        return None
    if (
        area_of(request.method, request.path) == "probe"
    ):  # Kubernetes sends the address of the pod as Host
        return None
    return Refusal(
        421,
        f"The Host header {request.host!r} is not a name of this server",
        "Use one of its names, or add this one to hosts in [server]",
    )


def _origin_refused(request: RequestFacts, access: Access) -> Refusal | None:
    origin = request.origin
    if (
        origin is None
        or access.origins is None
        or origin in access.origins
        or _of_the_same(origin, request.host)
    ):
        return None
    return Refusal(
        403,
        f"Pages of {origin!r} are not allowed to call this server",
        "To allow them, add the origin to origins in [server]",
    )


def _key(request: RequestFacts, access: Access) -> Refusal | None:
    area = area_of(request.method, request.path)
    if area is None:
        return _unknown(request.method, request.path)
    if area in {"probe", "public"}:
        return None
    if area == "admin" and access.admin_key is None:
        return Refusal(
            403,
            "The route needs the admin key, and the server has none",
            "Start the server with HOTSTART_ADMIN_KEY set, and send that key",
        )
    # Compare both keys always, so that the time reveals nothing.
    digest = _digest(request.key) or b""
    is_admin = hmac.compare_digest(digest, access.admin_key or b"none")
    is_user = hmac.compare_digest(digest, access.api_key or b"none")
    if is_admin or (area == "user" and (is_user or access.api_key is None)):
        return None
    if is_user:
        return Refusal(403, "The route needs the admin key", "Send the admin key")
    return Refusal(
        401,
        "The key is wrong" if request.key else "A key is needed",
        "Send the header: Authorization: Bearer KEY",
    )


def brought_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key of a request: its bearer token or its X-API-Key header."""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip()
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
    return None


def _digest(key: str | None) -> bytes | None:
    return hashlib.sha256(key.encode("latin-1", "replace")).digest() if key else None


def _of_the_same(origin: str, host: str | None) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in {"http", "https"} and host is not None and rest.lower() == host.lower()


def _without_port(host: str) -> str:
    name = host.lower()
    return name if name.endswith("]") else re.sub(r":\d*$", "", name)
