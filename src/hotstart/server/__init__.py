"""HTTP server over a registry. Read `app.py` first.

request ──▶ middleware (host, origin, key, size) ──▶ route (schemas, service) ──▶ registry ──▶
response
"""

from __future__ import annotations

from hotstart._lazy import brought_by

with brought_by("server", "fastapi"):
    from hotstart.server.app import create_app, lifespan, mounted, router

__all__ = ["create_app", "lifespan", "mounted", "router"]
