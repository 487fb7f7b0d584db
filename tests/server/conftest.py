"""The fixtures of `support.server`."""

from __future__ import annotations

from support.server import serve, served

__all__ = ["serve", "served"]
