"""Test the dashboard in Chromium against the real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from hotstart import Embedder, SearchIndex
from hotstart.engines.fake import fake_control
from server.serving import serving
from server.test_dashboard import (
    Open,
    browser,
    model,
    open_page,
    opened,
    state,
)
from support.server import Serve

__all__ = ["browser", "open_page"]

pytestmark = pytest.mark.slow


def hanging(name: str) -> dict[str, Any]:
    return {"source": f"fake:hang_load=true,name={name}"}


def test_loads_update_the_page(serve: Serve, open_page: Open) -> None:
    served = serve(
        {
            "slow": hanging("live-slow"),
            "quick": {"source": "fake:name=live-quick"},
            "bad": {"source": "fake:fail_loads=99,name=live-bad,fail_message=no weights"},
        }
    )
    page = open_page(f"{served.url}/")
    expect(state(model(page, "quick"))).to_have_text("ready")
    expect(state(model(page, "slow"))).to_have_text("loading")
    expect(model(page, "bad")).to_contain_text("no weights")
    expect(page.locator("#health")).to_have_text("degraded")
    expect(model(page, "slow").locator(".track rect")).to_have_count(1)
    fake_control("live-slow").release()
    expect(state(model(page, "slow"))).to_have_text("ready")
    expect(page).to_have_title("2/3 ready · hotstart")
    for _ in range(5):
        assert served.post("/embed", {"inputs": "a", "model": "quick"}).status_code == 200
    expect(page.locator("#request-rows")).to_contain_text("/embed")
    expect(model(page, "quick")).to_contain_text("5")


def test_search_shows_lexical_then_hybrid_hits(
    serve: Serve, open_page: Open, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# Cats\n\nA cat sat on the mat.\n")
    (tmp_path / "b.md").write_text("# Dogs\n\nA dog ran after it.\n")
    source = "fake:load_seconds=1,name=live-search"
    SearchIndex(tmp_path, Embedder(source)).update()
    served = serve({"minilm": {"source": source}}, index=str(tmp_path), models=())
    page = open_page(f"{served.url}/")
    page.get_by_label("Search query").fill("cat")
    page.keyboard.press("Enter")
    expect(page.locator("#search-status")).to_contain_text("lexical in")
    expect(page.locator("#search-status")).to_contain_text("searching by meaning")
    expect(page.locator("#hits li").first).to_contain_text("a.md")
    expect(page.locator("#search-status")).to_contain_text("hybrid in")
    expect(page.locator("#hits li").first).to_contain_text("a.md")
    expect(state(model(page, "minilm"))).to_have_text("ready")  # the search had it loaded


def test_admin_actions_change_the_registry(serve: Serve, open_page: Open) -> None:
    two: dict[str, Any] = {"versions": {"a": "fake:name=live-a", "b": "fake:name=live-b"}}
    served = serve({"two": {**two, "version": "a"}}, admin_key="open sesame")
    served.wait_for("healthy")
    page = open_page(f"{served.url}/")
    rows = opened(page, "two")
    rows.get_by_role("button", name="Unload two").click()
    dialog = page.get_by_role("dialog", name="Admin key")
    dialog.get_by_label("key").fill("open sesame")
    page.keyboard.press("Enter")
    expect(state(rows)).to_have_text("unloaded")
    rows.get_by_role("button", name="Load two", exact=True).click()
    expect(state(rows)).to_have_text("ready")
    served.registry.set_route("two", {"b": 1})
    expect(rows.get_by_role("button", name="Roll back two")).to_be_enabled()
    rows.get_by_role("button", name="Roll back two").click()
    expect(rows.get_by_role("button", name="Roll back two")).not_to_be_enabled()
    assert served.registry.info("two").version == "a"
    loads = fake_control("live-a").loads
    page.get_by_role("button", name="Reload all").click()
    expect(model(page, "two")).to_contain_text("reloaded in")
    assert fake_control("live-a").loads == loads + 1


def test_server_shutdown_shows_connection_error(open_page: Open, tmp_path: Path) -> None:
    with serving(tmp_path, "[models.one]\nsource = 'fake:name=live-end'\n") as process:
        page = open_page(f"{process.url}/")
        expect(page.locator("tbody.model")).to_have_count(1)
        assert process.end() == 0
        expect(page.locator("#connection-error-text")).to_contain_text("Connection lost")
        expect(page.locator("#connection-text")).to_have_text("disconnected")
