"""Who may ask what: the decision itself, then the same over real connections."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotstart.server.auth import Access, RequestFacts, access_of, area_of, brought_key, refusal
from hotstart.server.config import ServerConfig
from support.server import Serve

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
BOTH = access_of(ServerConfig(api_key="user", admin_key="admin"))
OPEN = access_of(ServerConfig())

AREAS = [
    ("GET", "/livez", "probe"),
    ("GET", "/readyz", "probe"),
    ("GET", "/startupz", "probe"),
    ("GET", "/health", "probe"),
    ("GET", "/ping", "probe"),
    ("GET", "/", "public"),
    ("GET", "/dashboard/app.js", "public"),
    ("GET", "/v1/models", "user"),
    ("GET", "/v1/models/minilm", "user"),
    ("GET", "/models", "user"),
    ("GET", "/models/minilm", "user"),
    ("POST", "/embeddings", "user"),
    ("POST", "/v1/embeddings", "user"),
    ("POST", "/v1/rerank", "user"),
    ("POST", "/embed", "user"),
    ("POST", "/", "user"),
    ("POST", "/rerank", "user"),
    ("POST", "/search", "user"),
    ("GET", "/info", "user"),
    ("GET", "/metrics", "user"),
    ("GET", "/events", "user"),
    ("GET", "/openapi.json", "user"),
    ("GET", "/api/v1/models/registry", "user"),
    ("GET", "/api/v1/models/health", "user"),
    ("GET", "/api/v1/models/models", "user"),
    ("POST", "/api/v1/models/minilm/predict", "user"),
    ("POST", "/api/v1/models/reload", "admin"),
    ("POST", "/api/v1/models/minilm/load", "admin"),
    ("POST", "/api/v1/models/minilm/unload", "admin"),
    ("POST", "/api/v1/models/minilm/rollback", "admin"),
]


@pytest.mark.parametrize(("method", "path", "area"), AREAS)
def test_every_route_has_an_area(method: str, path: str, area: str) -> None:
    assert area_of(method, path) == area


def test_areas_cover_every_route(serve: Serve) -> None:
    served = serve()
    told = served.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, by in told.items() for method in by}
    listed = {
        (method, path.replace("minilm", "{name}").replace("app.js", "{name}"))
        for method, path, _ in AREAS
    }
    assert routes == listed - {("GET", "/openapi.json")}


@pytest.mark.parametrize(("_", "path", "area"), AREAS)
def test_other_methods_are_not_allowed(_: str, path: str, area: str) -> None:
    known = {method for method, each, _ in AREAS if each == path}
    known |= {"HEAD"} if "GET" in known else set()
    for method in set(METHODS) - known:
        asked = RequestFacts(method, path, "localhost", None, None)
        denied = refusal(asked, BOTH)
        assert denied is not None
        assert denied.status == 405
        assert all(name in denied.remedy for name in known)


@given(st.text(), st.sampled_from(METHODS), st.sampled_from([None, "user", "admin"]))
def test_an_unlisted_path_does_not_exist_whatever_the_key(
    path: str, method: str, key: str | None
) -> None:
    """A route without a row in the table of areas is closed."""
    denied = refusal(RequestFacts(method, f"/x{path}", "localhost", None, key), BOTH)
    assert denied is not None
    assert denied.status == 404


@pytest.mark.parametrize("path", ["/v1/embeddings/", "/livez/", "/v1", "/nope", "/api/v1/models"])
def test_a_path_beside_a_route_does_not_exist(path: str) -> None:
    denied = refusal(RequestFacts("GET", path, "localhost", None, None), OPEN)
    assert denied is not None
    assert denied.status == 404


@pytest.mark.parametrize("name", ["minilm", "owner/name", "name:latest"])
def test_the_name_of_a_model_may_have_an_owner(name: str) -> None:
    assert area_of("GET", f"/v1/models/{name}") == "user"
    assert area_of("POST", f"/api/v1/models/{name}/predict") == "user"
    assert area_of("POST", f"/api/v1/models/{name}/load") == "admin"
    assert area_of("GET", f"/v1/models/a/{name}/b/c") is None


STATUS: list[tuple[Access, str, str | None, int]] = [
    (OPEN, "user", None, 200),
    (OPEN, "user", "whatever", 200),
    (OPEN, "admin", None, 403),
    (OPEN, "admin", "whatever", 403),
    (OPEN, "probe", None, 200),
    (BOTH, "probe", None, 200),
    (BOTH, "public", None, 200),
    (BOTH, "user", None, 401),
    (BOTH, "user", "", 401),
    (BOTH, "user", "wrong", 401),
    (BOTH, "user", "user", 200),
    (BOTH, "user", "USER", 401),
    (BOTH, "user", "user ", 401),
    (BOTH, "user", "admin", 200),
    (BOTH, "admin", None, 401),
    (BOTH, "admin", "wrong", 401),
    (BOTH, "admin", "user", 403),
    (BOTH, "admin", "admin", 200),
    (access_of(ServerConfig(api_key="user")), "admin", "user", 403),
    (access_of(ServerConfig(admin_key="admin")), "user", None, 200),
    (access_of(ServerConfig(admin_key="admin")), "admin", None, 401),
    (access_of(ServerConfig(admin_key="admin")), "admin", "admin", 200),
]
PATHS = {area: (method, path) for method, path, area in AREAS}


@pytest.mark.parametrize(("access", "area", "key", "status"), STATUS)
def test_area_requires_key(access: Access, area: str, key: str | None, status: int) -> None:
    refused = refusal(RequestFacts(*PATHS[area], "localhost:8080", None, key), access)
    assert (200 if refused is None else refused.status) == status


HOSTS: list[tuple[ServerConfig, str | None, int]] = [
    (ServerConfig(), "localhost:8080", 200),
    (ServerConfig(), "LOCALHOST", 200),
    (ServerConfig(), "127.0.0.1:1", 200),
    (ServerConfig(), "[::1]:8080", 200),
    (ServerConfig(), "[::1]", 200),
    (ServerConfig(), "evil.example", 421),
    (ServerConfig(), "localhost.evil.example", 421),
    (ServerConfig(), "127.0.0.1.evil.example:8080", 421),
    (ServerConfig(), "localhost:8080@evil.example", 421),
    (ServerConfig(), "", 421),
    (ServerConfig(), None, 421),
    (ServerConfig(hosts=("models.local",)), "models.local:80", 200),
    (ServerConfig(uds="/tmp/x"), "anything", 200),
    (ServerConfig(uds="/tmp/x"), None, 200),
    (ServerConfig(host="0.0.0.0", api_key="k"), "whatever.example", 200),
    (ServerConfig(host="0.0.0.0", api_key="k", hosts=("one.example",)), "one.example", 200),
    (ServerConfig(host="0.0.0.0", api_key="k", hosts=("one.example",)), "two.example", 421),
]


@pytest.mark.parametrize(("config", "host", "status"), HOSTS)
def test_host_header_is_checked(config: ServerConfig, host: str | None, status: int) -> None:
    refused = refusal(RequestFacts("GET", "/v1/models", host, None, "k"), access_of(config))
    assert (200 if refused is None else refused.status) == status
    assert refusal(RequestFacts("GET", "/livez", host, None, None), access_of(config)) is None


ORIGINS = [
    (None, 200),
    ("http://localhost:8080", 200),
    ("https://localhost:8080", 200),
    ("http://localhost", 403),
    ("http://localhost:9999", 403),
    ("http://evil.example", 403),
    ("null", 403),
    ("", 403),
    ("https://app.example.org", 200),
    ("https://app.example.org.evil.example", 403),
    ("file://localhost:8080", 403),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/models"), ("POST", "/v1/embeddings"), ("POST", "/api/v1/models/reload")],
)
def test_origin_header_is_checked(origin: str | None, status: int, method: str, path: str) -> None:
    config = ServerConfig(origins=("https://app.example.org",), admin_key="k")
    asked = RequestFacts(method, path, "localhost:8080", origin, "k")
    refused = refusal(asked, access_of(config))
    assert (200 if refused is None else refused.status) == status


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ([(b"authorization", b"Bearer abc")], "abc"),
        ([(b"authorization", b"bearer abc")], "abc"),
        ([(b"x-api-key", b"abc")], "abc"),
        ([(b"authorization", b"Basic abc")], None),
        ([(b"authorization", b"Bearer")], None),
        ([], None),
    ],
)
def test_key_is_read_from_headers(headers: list[tuple[bytes, bytes]], key: str | None) -> None:
    assert brought_key(headers) == key


def ask(port: int, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body = "{}" if method == "POST" else None
    connection.putrequest(method, path, skip_host=True)
    given = {"content-length": str(len(body or "")), "content-type": "application/json", **headers}
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders((body or "").encode())
    status = connection.getresponse().status
    connection.close()
    return status


WIRE: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "/livez", {"host": "10.1.2.3:8080"}, 200),
    ("GET", "/", {"host": "evil.example"}, 421),
    ("GET", "/", {"host": "localhost"}, 200),
    ("GET", "/v1/models", {"host": "localhost"}, 401),
    ("GET", "/v1/models", {"host": "localhost", "authorization": "Bearer user"}, 200),
    ("GET", "/v1/models", {"host": "localhost", "x-api-key": "user"}, 200),
    ("GET", "/v1/models", {"host": "localhost", "x-api-key": "nobody"}, 401),
    (
        "GET",
        "/v1/models",
        {"host": "localhost", "x-api-key": "user", "origin": "http://evil.example"},
        403,
    ),
    ("POST", "/api/v1/models/reload", {"host": "localhost", "x-api-key": "user"}, 403),
    ("POST", "/api/v1/models/reload", {"host": "localhost", "x-api-key": "admin"}, 200),
    ("DELETE", "/api/v1/models/fake", {"host": "localhost", "x-api-key": "user"}, 404),
    ("DELETE", "/api/v1/models/fake", {"host": "localhost", "x-api-key": "admin"}, 404),
    ("PUT", "/v1/embeddings", {"host": "localhost", "x-api-key": "user"}, 405),
    ("PUT", "/v1/embeddings", {"host": "localhost", "x-api-key": "admin"}, 405),
    ("OPTIONS", "/v1/embeddings", {"host": "localhost"}, 405),
    ("GET", "/none", {"host": "localhost"}, 404),
    ("POST", "/api/v1//models/reload", {"host": "localhost", "x-api-key": "user"}, 404),
    ("POST", "/API/v1/models/reload", {"host": "localhost", "x-api-key": "user"}, 404),
    ("POST", "/api/v1/models/x%2fload/predict", {"host": "localhost", "x-api-key": "user"}, 400),
]


def test_running_server_enforces_access(serve: Serve) -> None:
    served = serve({"fake": {"source": "fake:"}}, api_key="user", admin_key="admin")
    seen: dict[Any, int] = {}
    for method, path, headers, _ in WIRE:
        seen[method, path, str(headers)] = ask(served.port, method, path, headers)
    assert seen == {(m, path, str(headers)): status for m, path, headers, status in WIRE}
    assert served.client.get("/livez").status_code == 200
