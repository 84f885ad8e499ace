"""Chromium, as people look at a hub with it: served over HTTP, watched for whatever the browser itself finds wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from web.page.rendering import SIGN_IN
from web.serving.app import release

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--renderer-process-limit=1",
    "--process-per-site",
]
"""The last two: a process that draws a page draws the next one, too, which spares a fifth of what a test takes."""
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 360, "height": 740}
PATIENCE_MS = 10_000
ANSWERED_OTHERWISE = (
    "the server responded with a status of",
    "Response Status Error Code",
    "htmx:sendAbort",
    "htmx:afterRequest",
)
"""What the console says of an answer other than 200, and of a poll that the page has given up."""


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address of a server with this app, which stops in the end: polls that wait are released."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        release(app)
        server.shutdown()
        server.server_close()
        thread.join()


class _Silent(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless. Raises Playwright's error where there is none: `python -m devservers chromium`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Looker:
    """Somebody before a screen: a page, and what the browser has said of it since it was asked last."""

    def __init__(self, browser: Browser, hub: str, *, script: bool = True) -> None:
        self.hub = hub
        self.context = browser.new_context(
            base_url=hub,
            java_script_enabled=script,
            viewport=WIDE,
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self._wrong: list[str] = []
        self._watch()

    def _watch(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self._wrong.append(f"script: {error}"))
        self.page.on("dialog", lambda dialog: (self._wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("requestfailed", self._failed)
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        """A policy that was broken is an error of the console's; that an answer tells of a problem is none of ours."""
        if message.type in ("error", "warning") and not any(text in message.text for text in ANSWERED_OTHERWISE):
            self._wrong.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a poll that the page itself has given up
            self._wrong.append(f"request: {request.url} {request.failure}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.hub, "data:", "blob:")):
            self._wrong.append(f"another host: {request.url}")

    def wrong(self) -> list[str]:
        """What was found wrong since this was asked last."""
        found, self._wrong = self._wrong, []
        return found

    def carry(self, name: str, cookie: str) -> None:
        """Have this session from now on."""
        kept = f"{name}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict"
        answer = f"{self.hub}/carried"  # what a browser is told by its driver may have no such name
        self.context.route(answer, lambda route: route.fulfill(headers={"Set-Cookie": kept}, body=""))
        self.page.goto(answer)
        self.context.unroute(answer)

    def sign_in(self, token: str) -> None:
        """As people do it, who have a token."""
        self.page.goto(SIGN_IN)
        self.page.locator("[name=token]").fill(token)
        self.page.locator("main form:has([name=token]) button").click()
        self.page.wait_for_url(lambda url: SIGN_IN not in url)

    def go(self, path: str) -> Response:
        response = self.page.goto(path)
        assert response is not None, path
        return response

    def close(self) -> None:
        self.context.close()


def breaches(page: Page, *, only: list[str] | None = None) -> list[str]:
    """What axe finds against the rules of access for everybody; of these rules alone, if some are named."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE)
    run = {"type": "rule", "values": only} if only else {"type": "tag", "values": RULES}
    found = page.evaluate(
        "options => axe.run(document, options)", {"runOnly": run, "resultTypes": ["violations"], "preload": False}
    )
    return [
        f"{one['id']}: {node['target'][0]} {node['failureSummary'].splitlines()[-1].strip()}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def findings(looker: Looker) -> dict[str, list[str]]:
    """What is wrong with the page that is shown, by how it is looked at; then it is wide and light."""
    page = looker.page
    found = {"light": breaches(page), "markup": _markup(page)}
    page.emulate_media(color_scheme="dark")
    found["dark"] = breaches(page, only=["color-contrast"])
    page.set_viewport_size(NARROW)
    found["narrow"] = _too_wide(page) + breaches(page, only=["target-size", "scrollable-region-focusable"])
    found["browser"] = looker.wrong()
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    return {way: what for way, what in found.items() if what}


def brought(page: Page) -> int:
    """Bytes that the page has brought over the wire."""
    loaded = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
    taken: int = page.evaluate(f"{loaded}.map(one => one.transferSize).reduce((all, one) => all + one, 0)")
    return taken


def _markup(page: Page) -> list[str]:
    """What others wrote and the browser took for markup, or the hub for a template."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('.evil')].map(one => one.outerHTML)")
    return found + (["{{7*7}}"] if "onerror=alert(1)>49" in page.inner_text("body") else [])


def _too_wide(page: Page) -> list[str]:
    """Pieces that reach over the screen's edge, if the page as a whole has to be scrolled sideways."""
    found: list[str] = page.evaluate(
        """() => {
            const wide = document.documentElement.clientWidth
            if (document.documentElement.scrollWidth <= wide) return []
            const clips = style => style.overflowX !== 'visible' && style.position !== 'static'
            const clipped = one => one && (clips(getComputedStyle(one)) || clipped(one.parentElement))
            return [...document.querySelectorAll('body *')]
                .filter(one => one.getBoundingClientRect().right > wide + 1 && !clipped(one.parentElement))
                .slice(0, 5).map(one => `${one.tagName} ${one.className} ${one.getBoundingClientRect().right}`)
        }"""
    )
    return found
