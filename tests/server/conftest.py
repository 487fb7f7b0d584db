"""The fixtures of `server_under_test`."""

from __future__ import annotations

from server_under_test import serve, served

__all__ = ["serve", "served"]
