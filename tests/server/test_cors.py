"""A page of another origin asks the server, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support.programs import require_program
from support.server import Serve

pytestmark = pytest.mark.slow

ASK = """
async ([url, key]) => {
  const headers = {"content-type": "application/json", authorization: `Bearer ${key}`};
  const body = JSON.stringify({model: "fake", input: "a", unheard: 1});
  try {
    const answer = await fetch(`${url}/v1/embeddings`, {method: "POST", headers, body});
    const told = await answer.json();
    return [answer.status, told.data?.[0].embedding.length, answer.headers.get("x-ignored-fields")];
  } catch (error) {
    return [String(error)];
  }
}
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a page</title>")

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """The origin of a page that has nothing to do with the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_page_of_an_allowed_origin_asks_and_no_other_does(serve: Serve, origin: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = require_program("chromium", package="chromium")
    fake = {"fake": {"source": "fake:dimension=8"}}
    allowing = serve(fake, api_key="user", origins=(origin,))
    refusing = serve(fake, api_key="user", origins=("https://app.example.org",))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(origin)
        assert page.evaluate(ASK, [allowing.url, "user"]) == [200, 8, "unheard"]
        assert page.evaluate(ASK, [allowing.url, "wrong"])[0] == 401
        assert page.evaluate(ASK, [refusing.url, "user"]) == ["TypeError: Failed to fetch"]
        browser.close()
