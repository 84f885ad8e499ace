"""Every view in Chromium, as somebody sees it on a wide and on a narrow screen, by day and by night: the browser finds
nothing wrong, nobody is shut out, and what others wrote is text.

Each is loaded once. Where its scene is `small` it is looked at in `hostile`: the same, with markup in each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page

from tests.page.browsing import NARROW, WIDE, breaches
from tests.page.views import VIEWS, View
from tests.page.walk import Walk


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
            const clips = style => style.overflowX !== 'visible' && style.position !== 'static'
            const clipped = one => one && (clips(getComputedStyle(one)) || clipped(one.parentElement))
            return [...document.querySelectorAll('body *')]
                .filter(one => one.getBoundingClientRect().right > wide + 1 && !clipped(one.parentElement))
                .slice(0, 5).map(one => `${one.tagName} ${one.className} ${one.getBoundingClientRect().right}`)
        }"""
    )
    return found
