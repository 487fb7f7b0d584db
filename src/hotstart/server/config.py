"""The `[server]` table of hotstart.toml, checked key by key."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from hotstart.config import Table, server_keys
from hotstart.errors import InvalidInput

BACKLOG = 2048
"""Connections that may wait for the server to accept them."""

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, repr=False)
class ServerConfig:
    """The table `[server]`.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        uds: path of a Unix socket to listen on, in place of host and port.
        workers: number of processes; each has its models, over the same mapped files.
        api_key: key of requests that use models; None if no key is required.
        admin_key: key of load, unload, reload and rollback; None forbids them.
        hosts: allowed Host names besides those of the machine.
        origins: allowed origins of other sites.
        models: models to load at the start; None for all, empty for none.
        index: indexed folder of `/search`; None for no search, or for the folders of the store.
        index_store: folder that holds the index; None for one within the indexed folder.
        index_model: embedding model of the search; None for the first one.
        timeout: maximal seconds that a request waits for its answer.
        max_body: maximal bytes of a request.
        max_texts: maximal texts of a request.
        max_characters: maximal characters of a text.
        drain: seconds for accepted requests after SIGTERM.
        log_level: what is logged on standard error: a level of the standard library's logging.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    uds: str | None = None
    workers: int = 1
    api_key: str | None = None
    admin_key: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    models: tuple[str, ...] | None = None
    index: str | None = None
    index_store: str | None = None
    index_model: str | None = None
    timeout: float = 60.0
    max_body: int = 16_000_000
    max_texts: int = 2048
    max_characters: int = 100_000
    drain: float = 30.0
    log_level: str = "info"

    def __repr__(self) -> str:
        secrets = {"api_key", "admin_key"}
        fields = (
            f"{name}={'set' if name in secrets and value else value!r}"
            for name, value in asdict(self).items()
        )
        return f"ServerConfig({', '.join(fields)})"

    @property
    def searches(self) -> bool:
        """Whether there is an index to search."""
        return self.index is not None or self.index_store is not None

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.uds is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def checked(self) -> ServerConfig:
        """Return this configuration; raise InvalidInput if serving it would be unsafe."""
        if not self.is_local and not self.api_key:
            expected = (
                "an address of this machine alone, such as 127.0.0.1, or an api_key that every "
                "request has to bring (HOTSTART_API_KEY)"
            )
            raise InvalidInput("the host", got=self.host, expected=expected)
        if self.api_key and self.api_key == self.admin_key:
            expected = "one that is not the api_key, which every user has"
            raise InvalidInput("the admin_key", got="the same key", expected=expected)
        return self


def read_server(content: Mapping[str, Any], home: str = ".") -> ServerConfig:
    """Return the `[server]` table of `content`; keys of the environment take precedence.

    Raises:
        InvalidInput: a key is unknown or has an invalid value.
    """
    table = Table("hotstart.toml", content).table("server", at="server")
    table.refuse_others([field.name for field in fields(ServerConfig)])
    keys = server_keys()
    models = None if "models" not in table.content else table.texts("models")
    numbers = {
        **{name: table.count(name) for name in ("workers", "max_texts", "max_characters")},
        **{name: table.number(name) for name in ("timeout", "drain")},
        "max_body": table.size("max_body"),
        "port": _port(table),
    }
    folders = {name: _path(table.text(name), home) for name in ("index", "index_store", "uds")}
    texts = {"host": table.text("host"), "index_model": table.text("index_model")}
    texts["log_level"] = _log_level(table)
    values = {
        name: value for name, value in {**numbers, **folders, **texts}.items() if value is not None
    }
    return ServerConfig(
        **values,  # type: ignore[arg-type]
        api_key=keys.api_key or table.text("api_key"),
        admin_key=keys.admin_key or table.text("admin_key"),
        hosts=table.texts("hosts"),
        origins=table.texts("origins"),
        models=models,
    )


LOG_LEVELS = ("debug", "info", "warning", "error", "critical")


def _log_level(table: Table) -> str | None:
    level = table.text("log_level")
    if level is not None and level not in LOG_LEVELS:
        expected = f"one of {', '.join(LOG_LEVELS)}"
        raise InvalidInput("server.log_level", got=level, expected=expected)
    return level


def _port(table: Table) -> int | None:
    port = table.number("port")
    if port is not None and not (port == int(port) and port < 65536):
        raise InvalidInput("server.port", got=port, expected="a port, or 0 for a free one")
    return None if port is None else int(port)


def _path(path: str | None, home: str) -> str | None:
    return path and os.path.abspath(os.path.join(home, os.path.expanduser(path)))
