"""What `[server]` says, and what is not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hotstart.errors import InvalidInput
from hotstart.server.config import ServerConfig, read_server


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOTSTART_API_KEY", raising=False)
    monkeypatch.delenv("HOTSTART_ADMIN_KEY", raising=False)


def test_empty_table_gives_defaults() -> None:
    assert read_server({}) == ServerConfig()
    assert read_server({"models": {"a": {"source": "fake:"}}}) == ServerConfig()


def test_every_key_is_read(tmp_path: Path) -> None:
    table = {
        "host": "0.0.0.0",
        "port": 0,
        "workers": 2,
        "api_key": "user",
        "admin_key": "admin",
        "hosts": ["a.example"],
        "origins": ["https://a.example"],
        "models": [],
        "index": "docs",
        "index_store": "library",
        "index_model": "minilm",
        "timeout": 5,
        "max_body": "1MB",
        "max_texts": 10,
        "max_characters": 100,
        "drain": 2,
        "uds": "sock",
    }
    read = read_server({"server": table}, str(tmp_path))
    assert (read.port, read.workers, read.timeout, read.max_body) == (0, 2, 5, 1_000_000)
    assert (read.index, read.uds) == (str(tmp_path / "docs"), str(tmp_path / "sock"))
    assert read.index_store == str(tmp_path / "library")
    assert (read.models, read.hosts) == ((), ("a.example",))
    assert "admin'" not in repr(read)
    assert "user" not in repr(read)


def test_environment_keys_take_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTSTART_API_KEY", "from the environment")
    read = read_server({"server": {"api_key": "from the file", "admin_key": "admin"}})
    assert (read.api_key, read.admin_key) == ("from the environment", "admin")


@pytest.mark.parametrize(
    "table",
    [
        {"hots": "127.0.0.1"},
        {"port": -1},
        {"port": 65536},
        {"port": 1.5},
        {"port": "80"},
        {"workers": 0},
        {"max_body": "much"},
        {"hosts": "a.example"},
        {"timeout": -1},
        {"models": "minilm"},
    ],
)
def test_invalid_table_is_refused_by_key(table: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="server"):
        read_server({"server": table})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "[::]"])
def test_public_address_requires_key(host: str) -> None:
    with pytest.raises(InvalidInput, match="HOTSTART_API_KEY"):
        ServerConfig(host=host).checked()
    with pytest.raises(InvalidInput, match="HOTSTART_API_KEY"):
        ServerConfig(host=host, admin_key="k").checked()
    assert ServerConfig(host=host, api_key="k").checked().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_key(host: str) -> None:
    assert ServerConfig(host=host).checked().is_local


def test_api_key_and_admin_key_must_differ() -> None:
    with pytest.raises(InvalidInput, match="admin_key"):
        ServerConfig(api_key="k", admin_key="k").checked()
