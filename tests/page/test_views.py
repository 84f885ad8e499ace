"""Every view in Chromium, as somebody sees it on a wide and on a narrow screen, by day and by night: the browser finds
nothing wrong, nobody is shut out, and what others wrote is text.

Each is loaded once. Where its scene is `small` it is looked at in `hostile`: the same, with markup in each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.page.browsing import NARROW, WIDE, Looker, breaches, served
from tests.page.callers import session_of
from tests.page.scenes import Scene, opened
from tests.page.views import VIEWS, View, Who

MAX_PAGE_BYTES = 150_000
"""Of everything that a page brings over the wire to who was never there before."""


class Walk:
    """Scenes and whoever looks at them, made when first asked for."""

    def __init__(self, browser: Browser, folder: Path, stack: ExitStack) -> None:
        self._browser = browser
        self._folder = folder
        self._stack = stack
        self._hubs: dict[str, tuple[Scene, str]] = {}
        self._lookers: dict[tuple[str, Who | None], Looker] = {}

    def hub(self, name: str) -> tuple[Scene, str]:
        if name not in self._hubs:
            folder = self._folder / name
            folder.mkdir()
            scene = self._stack.enter_context(opened(name, folder, goes_on=True))
            self._hubs[name] = scene, self._stack.enter_context(served(scene.net.app))
        return self._hubs[name]

    def looker(self, name: str, who: Who | None) -> Looker:
        if (name, who) not in self._lookers:
            scene, address = self.hub(name)
            looker = self._lookers[name, who] = Looker(self._browser, address)
            self._stack.callback(looker.close)
            if who is not None:
                looker.carry(session_of(scene.net.app, scene.tokens[who]))
        return self._lookers[name, who]


@pytest.fixture(scope="module")
def walk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with ExitStack() as stack:
        yield Walk(chromium, tmp_path_factory.mktemp("walk"), stack)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_is_for_everybody_and_the_browser_finds_nothing_wrong(walk: Walk, view: View) -> None:
    name = "hostile" if view.scene == "small" else view.scene
    scene, _ = walk.hub(name)
    looker = walk.looker(name, view.who)
    page = looker.page
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    assert looker.go(view.at(scene.names)).status == view.status
    found = {"light": breaches(page), "markup": _markup(page)}
    page.emulate_media(color_scheme="dark")
    found["dark"] = breaches(page, only=["color-contrast"])
    page.set_viewport_size(NARROW)
    found["narrow"] = _too_wide(page) + breaches(page, only=["target-size", "scrollable-region-focusable"])
    found["browser"] = looker.wrong()
    assert {way: what for way, what in found.items() if what} == {}


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
            return [...document.querySelectorAll('body *')]
                .filter(one => one.getBoundingClientRect().right > wide + 1)
                .slice(0, 5).map(one => `${one.tagName} ${one.className} ${one.getBoundingClientRect().right}`)
        }"""
    )
    return found
