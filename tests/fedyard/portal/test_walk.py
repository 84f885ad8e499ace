"""The portal in Chromium: every page in both schemes and widths, by axe, and a form that comes from where it says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, Response
from playwright.sync_api import Browser
from werkzeug.serving import make_server

from fedyard.agent.site import Folder, Settings
from fedyard.look.assets import by_name
from fedyard.portal import door
from fedyard.portal.desk import Desk
from fedyard.portal.serving import HEADERS, Portal
from tests.fedyard.portal.scenes import NORTH, PAGES, desk_in, html
from tests.page.browsing import NARROW, WIDE, Looker, breaches, chromium

LOOKED_AT = sorted(name for name in PAGES if "-" not in name or name in ("project-new", "project-stranger"))
"""What has more than a sentence in it."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@contextmanager
def served(app_at: Callable[[int], Flask]) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, Flask("none"), threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign]
    server.app = app_at(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def looker(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looker]:
    """At pages whose values were made by hand, under the headers of the portal."""
    desk, app = desk_in(tmp_path_factory.mktemp("walk")), Flask("pages", static_folder=None)

    @app.get("/pages/<name>")
    def page(name: str) -> Response:
        return Response(html(desk, name), 200, HEADERS, content_type="text/html; charset=utf-8")

    @app.get("/static/<name>")
    def static(name: str) -> Response:
        found = by_name()[name]
        return Response(found.content, 200, content_type=found.media)

    with served(lambda _: app) as address:
        looker = Looker(browser, address)
        yield looker
        looker.close()


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_page_is_for_everybody_in_both_schemes_and_widths(looker: Looker, name: str) -> None:
    page = looker.page
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)
    assert looker.go(f"/pages/{name}").status == 200
    assert breaches(page) == []
    page.emulate_media(color_scheme="dark")
    assert breaches(page, only=["color-contrast"]) == []
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    live = [one for one in looker.wrong() if "/live" not in one]  # nobody answers to a part that renews itself here
    assert live == []


def test_a_link_lets_a_browser_in_and_a_form_of_its_own_is_taken(browser: Browser, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "north")
    folder.create(Settings(hub="http://127.0.0.1:9", name="north"), "token")
    (folder.path / "site.id").write_text(NORTH)
    links: list[str] = []

    def portal_at(port: int) -> Flask:
        portal = Portal(Desk(folder, give_up_s=0.05), door.opened(folder.path, port), links.append)
        links.append(portal.opened.link(portal.now_s()))
        return portal.app()

    with served(portal_at) as address:
        looker = Looker(browser, address, script=False)
        assert looker.page.goto(links[0]) is not None
        assert looker.page.title() == "Now · north, portal"
        looker.page.get_by_role("link", name="Agent", exact=True).click()
        looker.page.get_by_role("button", name="Sign out everywhere").click()
        assert "You have signed out." in looker.page.locator("main").inner_text()
        assert looker.go("/").status == 401
        assert (looker.wrong(), links[1:]) == ([], [])
        looker.close()
