"""Test the dashboard in Chromium, against a fake service that the test controls.

`served` is the URL of the page and the `Control` of the service behind it.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

from server.dashboard_server import serving
from server.fake_service import FakeService
from support.programs import require_program

# Generous: a passing test never waits this long.
TIMEOUT_MS = 30_000
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.slow


class Control(Protocol):
    """What a test can do to the service behind the page."""

    down: bool
    hybrid: threading.Event
    requests: list[tuple[str, Any]]

    def begin_load(self, name: str, stage: str | None = ...) -> None: ...
    def next_stage(self, name: str, stage: str) -> None: ...
    def advance(self, name: str, fraction: float) -> None: ...
    def finish_load(self, name: str) -> None: ...
    def fail(self, name: str, reason: str, remedy: str = ...) -> None: ...
    def unload(self, name: str) -> None: ...
    def count(self, seconds: float) -> None: ...
    def add_models(self, number: int) -> None: ...
    def drop(self) -> None: ...


Served = tuple[str, Control]
Serve = Callable[..., Served]
Open = Callable[..., Page]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that serves the page; its options are those of FakeService."""
    with ExitStack() as stack:

        def serve_one(**settings: Any) -> Served:
            service = FakeService(**settings)
            return stack.enter_context(serving(service)), service

        yield serve_one


@pytest.fixture
def served(serve: Serve) -> Served:
    """Serve the page without keys."""
    return serve()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Module scope: Playwright keeps an event loop running in this thread.
    chromium = require_program("chromium", package="chromium")
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Open the page. At the end, check that it had no errors and used only its own server."""
    with ExitStack() as stack:

        def open_one(url: str, width: int = 1280, **options: Any) -> Page:
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            page = context.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            errors: list[str] = []
            urls: list[str] = []
            page.on("console", lambda message: errors.extend(_console_errors(message)))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: urls.append(request.url))
            page.goto(url)

            def check() -> None:
                context.close()
                assert errors == []
                assert [one for one in urls if not one.startswith((url, "data:"))] == []

            stack.callback(check)
            return page

        yield open_one


def _console_errors(message: ConsoleMessage) -> list[str]:
    """Return errors and warnings, except failed requests: tests cause these on purpose."""
    is_failed_request = message.text.startswith("Failed to load resource")
    is_error = message.type in {"error", "warning"} and not is_failed_request
    return [message.text] if is_error else []


def model(page: Page, name: str) -> Locator:
    """Return the rows of a model."""
    return page.locator("tbody.model").filter(has=page.get_by_role("button", name=name, exact=True))


def opened(page: Page, name: str) -> Locator:
    """Open the details of a model and return its rows."""
    button = page.get_by_role("button", name=name, exact=True)
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    return model(page, name)


def state(rows: Locator) -> Locator:
    return rows.locator(".state-cell .state")


# Service and models.


def test_page_shows_service_metrics_and_models(served: Served, open_page: Open) -> None:
    page = open_page(served[0])
    expect(page.locator("tbody.model")).to_have_count(10)
    expect(page.locator("#health")).to_have_text("degraded")
    expect(page.locator("#metrics")).to_contain_text("1.31 GB")
    expect(page.locator("#metrics")).to_contain_text("cgroup memory.max")
    expect(page.locator("#metrics")).to_contain_text("3 waiting")
    expect(page).to_have_title("5/10 ready · hotstart")
    expect(model(page, "sales")).to_contain_text("pip install 'hotstart[prophet]'")
    expect(page.locator("#request-rows")).to_contain_text("/v1/embeddings")
    expect(page.locator("#memory-rows tr").first).to_contain_text("bge-small")


def test_load_shows_stages_progress_and_result(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    vision = model(page, "vision")
    expect(state(vision)).to_have_text("unloaded")
    control.begin_load("vision")
    expect(state(vision)).to_have_text("loading")
    control.advance("vision", 0.4)
    expect(vision.locator(".reason")).to_have_text("metadata, 40 %")
    control.next_stage("vision", "fast_start")
    expect(vision.locator(".track rect")).to_have_count(2)
    expect(vision.locator(".reason")).to_have_text("fast_start")
    control.finish_load("vision")
    expect(state(vision)).to_have_text("ready")
    expect(vision.locator(".reason")).to_contain_text("loaded in")
    expect(page).to_have_title("6/10 ready · hotstart")
    expect(page.get_by_role("status").filter(has_text="vision is ready")).to_have_count(1)


def test_running_stage_grows_between_events(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    rows = opened(page, "vision")
    control.begin_load("vision")
    running = rows.locator(".model-row .track rect[data-running]")
    expect(running).to_have_count(1)
    _wait_for_growth(page, running)
    expect(rows.locator(".details").get_by_role("row", name="metadata")).to_contain_text("…")


def test_load_without_stages_grows_as_one_bar(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    control.begin_load("rows", None)
    running = model(page, "rows").locator(".model-row .track rect[data-running]")
    expect(running).to_have_count(1)
    expect(model(page, "rows").locator(".reason")).to_have_text("load")
    _wait_for_growth(page, running)


def test_failed_model_shows_reason_and_remedy(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    control.fail("rows", "The function is missing.", "Install the package.")
    expect(state(model(page, "rows"))).to_have_text("failed")
    expect(model(page, "rows")).to_contain_text("Install the package.")


def test_request_updates_count_and_histogram(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    route = page.get_by_role("row", name="/v1/embeddings")
    expect(route).to_contain_text("118")
    expect(route.get_by_role("img")).to_have_accessible_name(
        "118 calls: 50 % within 25 ms, 99 % within 50 ms"
    )
    control.count(0.2)
    expect(route).to_contain_text("119")
    expect(route.get_by_role("img")).to_have_accessible_name(re.compile("^119 calls"))


def test_model_details_show_versions_queue_and_cache(served: Served, open_page: Open) -> None:
    page = open_page(served[0])
    churn = opened(page, "churn")
    versions = churn.get_by_role("table", name="Versions")
    expect(versions.get_by_role("row", name="v1")).to_contain_text("90 %")
    expect(versions.get_by_role("row", name="v3")).to_contain_text("shadow")
    minilm = opened(page, "minilm")
    queue = minilm.get_by_role("table", name="Queue by lane")
    expect(queue.get_by_role("row", name="bulk")).to_contain_text("5,504")
    expect(minilm).to_contain_text("812 hits of 1,204 lookups (67 %)")
    expect(minilm).to_contain_text("Prefetch: 57 used · 4 unused")


def test_update_keeps_nodes_focus_and_layout(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    rows = opened(page, "minilm")
    rows.locator("button.model-button").focus()
    rows.evaluate("node => { node.isSame = true }")
    height = page.evaluate("document.body.scrollHeight")
    control.count(0.2)
    control.count(0.2)
    expect(page.get_by_role("row", name="/v1/embeddings")).to_contain_text("120")
    assert rows.evaluate("node => node.isSame")
    expect(rows.locator("button.model-button")).to_be_focused()
    expect(rows.locator(".details")).to_be_visible()
    assert page.evaluate("document.body.scrollHeight") == height


def test_filter_selects_models_by_name_and_state(served: Served, open_page: Open) -> None:
    url, control = served
    control.add_models(190)
    page = open_page(url)
    expect(page.locator("tbody.model:visible")).to_have_count(50)
    page.get_by_label("Filter models by name").fill("tenant-18")
    expect(page.locator("tbody.model:visible")).to_have_count(10)
    page.get_by_label("Filter models by name").fill("nobody")
    expect(page.get_by_text("No model matches the filter.")).to_be_visible()
    page.get_by_label("Filter models by name").fill("")
    page.get_by_role("button", name="failed 1").click()
    expect(page.locator("tbody.model:visible")).to_have_count(1)
    page.get_by_role("button", name="all 200").click()
    page.get_by_role("button", name="Show 150 more").click()
    expect(page.locator("tbody.model:visible")).to_have_count(200)
    expect(page.get_by_role("button", name="tenant-040")).to_be_focused()
    expect(page.get_by_text("smaller models")).to_be_visible()


def test_server_text_is_not_parsed_as_html(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    markup = '<img src="x" onerror="document.title = \'injected\'">'
    control.fail("rows", markup, markup)
    expect(model(page, "rows").locator(".reason")).to_have_text(markup)
    opened(page, "rows")
    expect(page.locator("img")).to_have_count(0)
    expect(page).not_to_have_title("injected")


# Search.


def test_search_replaces_lexical_hits_by_hybrid_hits(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    page.get_by_label("Search query").fill("a killed writer")
    page.keyboard.press("Enter")
    answer, hits = page.locator("#search-status"), page.locator("#hits li")
    expect(answer).to_contain_text("lexical in 3 ms")
    expect(answer).to_contain_text("minilm is loading")
    expect(hits.first).to_contain_text("docs/models.md:5")
    text = hits.first.locator("pre").text_content()
    assert text is not None
    assert text.startswith("5   \U0001f512 ")  # indentation is kept
    assert hits.first.locator("mark").text_content() == text[6:10]
    control.hybrid.set()
    expect(answer).to_contain_text("hybrid in 12 ms · 3 hits · 1 new, 2 moved")
    expect(hits.locator(".path")).to_have_text(
        [re.compile(p) for p in ("cache", "registry", "models")]
    )
    expect(hits.locator(".hit-move")).to_have_text(["up 1", "new", "down 2"])
    timeouts = [body["timeout"] for path, body in control.requests if path == "/search"]
    assert timeouts == [0, None]


def test_search_sends_one_request_if_first_result_is_hybrid(
    served: Served, open_page: Open
) -> None:
    url, control = served
    control.hybrid.set()
    page = open_page(url)
    page.get_by_label("Search query").fill("a killed writer")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#search-status")).to_have_text("hybrid in 12 ms · 3 hits")
    expect(page.locator("#hits")).not_to_have_attribute("aria-busy", "true")
    assert len(control.requests) == 1


def test_search_is_hidden_without_index(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(index=False)[0])
    expect(page.locator("tbody.model")).to_have_count(10)
    expect(page.get_by_label("Search query")).to_be_hidden()


# Keys and actions.


def test_actions_are_hidden_without_admin_key(served: Served, open_page: Open) -> None:
    page = open_page(served[0])
    rows = opened(page, "minilm")
    expect(page.get_by_text("HOTSTART_ADMIN_KEY")).to_be_visible()
    expect(rows.get_by_role("button", name="Unload")).to_have_count(0)
    expect(page.get_by_role("button", name="Reload all")).to_be_hidden()


def test_action_prompts_until_admin_key_is_correct(serve: Serve, open_page: Open) -> None:
    url, control = serve(admin_key="open sesame")
    page = open_page(url)
    rows = opened(page, "minilm")
    expect(page.get_by_text("HOTSTART_ADMIN_KEY")).to_be_hidden()
    rows.get_by_role("button", name="Unload minilm").click()
    dialog = page.get_by_role("dialog", name="Admin key")
    _give(dialog, "wrong")
    expect(dialog).to_contain_text("The server rejected this key.")
    _give(dialog, "open sesame")
    expect(state(rows)).to_have_text("unloaded")
    expect(dialog).to_be_hidden()
    opened(page, "rows").get_by_role("button", name="Load rows", exact=True).click()
    expect(state(model(page, "rows"))).to_have_text("loading")
    assert page.evaluate("[localStorage.length, document.cookie, location.search]") == [0, "", ""]
    page.get_by_role("button", name="Forget key").click()
    assert page.evaluate("sessionStorage.length") == 0
    assert [path for path, _ in control.requests][-1] == "/api/v1/models/rows/load"


def test_rejected_action_shows_error(serve: Serve, open_page: Open) -> None:
    url, control = serve(admin_key="k")
    page = open_page(url)
    control.unload("static")
    rows = opened(page, "static")
    rows.get_by_role("button", name="Load static", exact=True).click()
    _give(page.get_by_role("dialog"), "k")
    expect(rows.get_by_role("alert")).to_have_text("The model is in use. Try again later.")


def test_disabled_action_sends_no_request(serve: Serve, open_page: Open) -> None:
    url, control = serve(admin_key="k")
    page = open_page(url)
    load = opened(page, "minilm").get_by_role("button", name="Load minilm", exact=True)
    expect(load).to_be_disabled()
    load.dispatch_event("click")
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert control.requests == []


def test_page_prompts_for_api_key(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(api_key="k")[0])
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#connection-error")).to_contain_text("requires an API key")
    page.get_by_role("button", name="Retry now").click()
    _give(dialog, "k")
    expect(page.locator("tbody.model")).to_have_count(10)
    expect(page.locator("#connection-error")).to_be_hidden()
    page.reload()
    expect(page.locator("tbody.model")).to_have_count(10)


# Connection.


def test_lost_connection_freezes_loads_until_retry(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    control.begin_load("vision")
    running = model(page, "vision").locator("rect[data-running]")
    expect(running).to_have_count(1)
    control.down = True
    control.drop()
    error = page.locator("#connection-error")
    expect(error).to_contain_text("Connection lost.")
    expect(error).to_contain_text("Retrying in")
    width = _width(running)
    # Further failures lengthen the delay. Its countdown ticks with the clock of the loads.
    expect(error).to_contain_text(re.compile(r"Retrying in [2-9] s"))
    assert _width(running) == width
    control.down = False
    control.finish_load("vision")
    page.get_by_role("button", name="Retry now").click()
    expect(error).to_be_hidden()
    expect(state(model(page, "vision"))).to_have_text("ready")


def test_page_reconnects_automatically(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url)
    expect(page.locator("#connection-text")).to_have_text("live")
    control.drop()
    expect(page.locator("#connection-text")).to_have_text("disconnected")
    expect(page.locator("#connection-text")).to_have_text("live")


# Accessibility and layout.


def test_keyboard_reaches_all_controls(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(admin_key="k")[0])
    expect(page.locator("tbody.model")).to_have_count(10)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to models")).to_be_focused()
    page.keyboard.press("Enter")
    _tab_to(page, page.get_by_role("button", name="minilm", exact=True))
    page.keyboard.press("Enter")
    unload = page.get_by_role("button", name="Unload minilm")
    _tab_to(page, unload)
    page.keyboard.press("Space")
    expect(page.get_by_role("dialog").get_by_label("Key", exact=True)).to_be_focused()
    page.keyboard.type("k")
    page.keyboard.press("Enter")
    expect(state(model(page, "minilm"))).to_have_text("unloaded")
    expect(unload).to_be_focused()
    expect(unload).to_be_disabled()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_sufficient_contrast(serve: Serve, open_page: Open, scheme: str) -> None:
    url, control = serve(admin_key="k")
    page = open_page(url, color_scheme=scheme)
    control.begin_load("vision")
    opened(page, "churn")
    control.hybrid.set()
    page.get_by_label("Search query").fill("a killed writer")
    page.keyboard.press("Enter")
    expect(page.locator("#hits li")).to_have_count(3)
    expect(state(model(page, "vision"))).to_have_text("loading")
    assert page.evaluate(CONTRASTS) == []
    red, *_ = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert (int(red) > 128) == (scheme == "light")


def test_controls_have_names_and_headings_are_in_order(serve: Serve, open_page: Open) -> None:
    page = open_page(serve(admin_key="k")[0])
    opened(page, "minilm")
    assert page.evaluate(NAMELESS) == []
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    expect(page.get_by_role("table", name="Models")).to_be_visible()
    expect(page.get_by_role("columnheader", name="p99").first).to_be_visible()


def test_narrow_screen_shows_everything(serve: Serve, open_page: Open) -> None:
    url, control = serve(admin_key="k")
    control.fail("rows", "/a/path/without/any/" + "end" * 40)
    page = open_page(url, width=390)
    opened(page, "minilm")
    opened(page, "churn")
    control.hybrid.set()
    page.get_by_label("Search query").fill("a killed writer")
    page.keyboard.press("Enter")
    expect(page.locator("#hits li")).to_have_count(3)
    assert page.evaluate(BEYOND_THE_EDGE) == []
    width, room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= room
    expect(page.get_by_role("table", name="Models")).to_be_visible()


def test_details_on_tablet_keep_their_column_headers(served: Served, open_page: Open) -> None:
    page = open_page(served[0], width=900)
    for name in ("churn", "sentiment"):
        versions = opened(page, name).get_by_role("table", name="Versions")
        share = versions.get_by_role("columnheader", name="Share")
        latency = versions.get_by_role("columnheader", name="Latency")
        expect(share).to_be_in_viewport()
        assert _height(latency) == _height(share), "no header breaks into several lines"


def test_reduced_motion_disables_animation(served: Served, open_page: Open) -> None:
    url, control = served
    page = open_page(url, reduced_motion="reduce")
    page.get_by_label("Search query").fill("a killed writer")
    page.keyboard.press("Enter")
    expect(page.locator("#hits li")).to_have_count(3)
    page.evaluate("() => { Element.prototype.animate = () => { throw new Error('it moved') } }")
    control.hybrid.set()
    expect(page.locator("#hits .hit-move").first).to_have_text("up 1")


def _give(dialog: Locator, key: str) -> None:
    dialog.get_by_label("Key", exact=True).fill(key)
    dialog.get_by_role("button", name="Use key").click()


def _tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until `wanted` has the focus. Each element on the way shows its focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        shown = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown != "none", page.evaluate("document.activeElement.outerHTML")
        if wanted.evaluate("node => node === document.activeElement"):
            return
    raise AssertionError(f"The Tab key does not reach {wanted}.")


def _width(bar: Locator) -> float:
    return float(bar.evaluate("node => node.getBoundingClientRect().width"))


def _height(node: Locator) -> float:
    return float(node.evaluate("node => node.getBoundingClientRect().height"))


def _wait_for_growth(page: Page, bar: Locator) -> None:
    grown = "([node, width]) => node.getBoundingClientRect().width > width"
    page.wait_for_function(grown, arg=[bar.element_handle(), _width(bar)])


VISIBLE = """
const visible = (node) => node.checkVisibility() && !node.closest(".visually-hidden, .skip-link");
"""

CONTRASTS = f"""() => {{
{VISIBLE}
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const clear = (color) => parts(color)[3] === 0;
const light = (color) => {{
  const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = parts(color).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}};
const ground = (node) => {{
  for (; node; node = node.parentElement) {{
    const color = getComputedStyle(node).backgroundColor;
    if (!clear(color)) return color;
  }}
  return "rgb(255, 255, 255)";
}};
const ratio = (one, other) => {{
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}};
const says = (node) => [...node.childNodes].some((c) => c.nodeType === 3 && c.data.trim());
return [...document.body.querySelectorAll("*")]
  .filter((node) => visible(node) && says(node))
  .map((node) => {{
    const style = getComputedStyle(node);
    const color = node instanceof SVGElement ? style.fill : style.color;
    return [node.className.baseVal ?? node.className, node.textContent, ratio(color, ground(node))];
  }})
  .filter(([, , ratio]) => ratio < 4.5);
}}"""

NAMELESS = f"""() => {{
{VISIBLE}
const named = "button, input, a, meter, progress, table, [role=img], dialog";
return [...document.querySelectorAll(named)]
  .filter((node) => visible(node) && !node.ariaLabel && !node.getAttribute("aria-labelledby")
    && !node.labels?.length && !node.textContent.trim())
  .map((node) => node.outerHTML);
}}"""

HEADINGS = f"""() => {{
{VISIBLE}
return [...document.querySelectorAll("h1, h2, h3, h4")]
  .filter(visible)
  .map((node) => Number(node.tagName[1]));
}}"""

BEYOND_THE_EDGE = f"""() => {{
{VISIBLE}
return [...document.body.querySelectorAll("*")]
  .filter((node) => visible(node) && !node.closest("thead, .reason")
    && node.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((node) => node.outerHTML.slice(0, 120));
}}"""
