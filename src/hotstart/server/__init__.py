"""The HTTP server: the registry's models behind OpenAI's, text-embeddings-inference's and its own
routes. Read `app.py` first.

request ──▶ gate (host, origin, key, size) ──▶ route (bodies, service) ──▶ registry ──▶ answer
"""

from __future__ import annotations

from hotstart._lazy import brought_by

with brought_by("server", "fastapi"):
    from hotstart.server.app import create_app, lifespan, mounted, router

__all__ = ["create_app", "lifespan", "mounted", "router"]
