"""The page's files, and what they may do in a browser."""

from __future__ import annotations

from support.server import Served


def test_dashboard_files_come_from_package(served: Served) -> None:
    page = served.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert served.get("/dashboard/none.js").status_code == 404
    assert served.get("/dashboard/..%2Fapp.py").status_code in {401, 404}
    assert served.get("/dashboard/app.py").status_code == 404
