"""Run the application with uvicorn, in one process or several."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from hotstart.config import CONFIG_FILE, Table, read_file
from hotstart.embedder import DEFAULT_MODEL
from hotstart.errors import InvalidInput
from hotstart.registry.config import (
    ModelConfig,
    RegistryConfig,
    VersionConfig,
    check_unnamed,
    read_config,
)
from hotstart.registry.registry import ModelRegistry
from hotstart.server.config import BACKLOG, ServerConfig, read_server
from hotstart.server.protocol import BoundedProtocol

if TYPE_CHECKING:
    from fastapi import FastAPI

_ACCEPT_SECONDS = 0.1
_KEEP_ALIVE = 75  # seconds that an idle connection stays open, more than those of proxies


def read_all(
    path: str | None, options: Mapping[str, Any] | None = None
) -> tuple[RegistryConfig, ServerConfig]:
    """Return the configuration in the file `path`; None for ./hotstart.toml, if there is one.

    Without any model, serve the default model. `options` take precedence over keys of `[server]`.

    Raises:
        InvalidInput: the file is absent or invalid, or an option has an invalid value.
        ConfigNotNamed: ./hotstart.toml was not named and runs code, or sends a key away.
    """
    chosen = path or (CONFIG_FILE if os.path.isfile(CONFIG_FILE) else None)
    content = {} if chosen is None else read_file(chosen)
    home = os.path.dirname(os.path.abspath(chosen)) if chosen else "."
    if options:
        table = Table("the configuration", content).table("server")
        content = {**content, "server": {**table.content, **options}}
    models = read_config(content, home)
    if path is None:
        check_unnamed(models)
    if not models.models and models.folder is None:
        default = ModelConfig(DEFAULT_MODEL, versions={"1": VersionConfig(DEFAULT_MODEL)})
        models = models._replace(models={DEFAULT_MODEL: default})
    return models, read_server(content, home)


def serve(models: RegistryConfig, config: ServerConfig) -> int:
    """Serve until a signal ends it; return the exit status.

    Raises:
        InvalidInput: the configuration is unsafe, or the address is in use.
    """
    config = config.checked()
    # uvicorn raises the signal again at its end; an orderly end is not a failure.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    _set_up_logging(config)
    registry = ModelRegistry(models)  # report an invalid configuration once, not in each worker
    for name in config.models or ():
        registry.info(name)
    listening = _bound(config)
    _print_address(listening, config, models)
    settings = uvicorn.Config(
        functools.partial(application, models, config),
        factory=True,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        workers=config.workers,
        access_log=False,
        log_config=None,
        log_level=logging.ERROR,  # a warning for each invalid request would flood the log
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(config.drain)),
    )
    own = os.stat(config.uds).st_ino if config.uds is not None else None
    try:
        if config.workers > 1:
            _Workers(settings, sockets=[listening]).run()
        else:
            _Server(settings).run([listening])
    finally:
        if config.uds is not None:
            _remove_socket(config.uds, own)
    return 0


def _remove_socket(path: str, inode: int | None) -> None:
    """Remove the socket file `path`, unless another server has made it anew."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


class _Server(uvicorn.Server):
    """The server; before it stops listening, it accepts the connections that wait."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, then end."""
        for each in sockets or []:
            each.listen(0)  # the kernel queues no more, and drops none that it has queued
        await asyncio.sleep(_ACCEPT_SECONDS)
        await super().shutdown(sockets)


class _Workers(Multiprocess):
    """The supervisor of uvicorn; it closes the socket before its workers end.

    New connections are then refused at once.
    """

    def terminate_all(self) -> None:
        super().terminate_all()
        for listening in self.sockets:
            listening.close()


def application(models: RegistryConfig, config: ServerConfig) -> FastAPI:
    """Return the application of one worker with its own registry."""
    from hotstart.server.app import create_app

    _set_up_logging(config)  # in each worker, which is a process of its own
    return create_app(ModelRegistry(models), config)


def _set_up_logging(config: ServerConfig) -> None:
    """Log one line each on standard error, unless the program has set logging up."""
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(format=form, level=logging.WARNING)
    logging.getLogger("hotstart").setLevel(config.log_level.upper())


def _bound(config: ServerConfig) -> socket.socket:
    """Return the socket that all workers listen on."""
    try:
        if config.uds is not None:
            return _unix(config.uds)
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((config.host.strip("[]"), config.port))
    except OSError as error:
        expected = f"an address that is free ({error.strerror or error})"
        raise InvalidInput("the address", got=_address(config), expected=expected) from error
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def _unix(path: str) -> socket.socket:
    """Return a Unix socket that only its owner may use; replace the socket of a killed server."""
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
        if listener.connect_ex(path) == 0:
            listener.close()
            raise InvalidInput("the address", got=path, expected="an address that no server uses")
        os.unlink(path)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def _print_address(listening: socket.socket, config: ServerConfig, models: RegistryConfig) -> None:
    actual = config if config.uds else replace(config, port=listening.getsockname()[1])
    number = len(models.models)
    sys.stderr.write(f"hotstart serves on {_address(actual)} (models: {number})\n")
    sys.stderr.flush()


def _address(config: ServerConfig) -> str:
    if config.uds is not None:
        return f"unix:{config.uds}"
    host = f"[{config.host}]" if ":" in config.host.strip("[]") else config.host
    return f"http://{host}:{config.port}"
