"""`hotstart serve`: serve models over HTTP."""

from __future__ import annotations

import argparse
import os

from hotstart._lazy import brought_by


def run(arguments: argparse.Namespace) -> int:
    """Serve the configured models until a signal ends the process."""
    with brought_by("server", "uvicorn"):
        from hotstart.server.run import read_all, serve
    options = {
        name: getattr(arguments, name)
        for name in ("host", "port", "uds", "index", "index_store", "workers", "log_level")
        if getattr(arguments, name) is not None
    }
    for name in {"uds", "index", "index_store"} & options.keys():
        # An empty path stays empty, and is refused.
        options[name] = options[name] and os.path.abspath(os.path.expanduser(options[name]))
    models, config = read_all(arguments.config, options)
    return serve(models, config)
