"""Every page in Chromium, as somebody sees it on a wide and on a narrow screen, by day and by night: the browser finds
nothing wrong, nobody is shut out, and what others wrote is text.

Each is loaded once; its further states, and as other people see it, are a drill (`test_more_views.py`). Where its scene
is `small` it is looked at in `hostile`: the same, with markup in each text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from tests.page.browsing import brought, findings
from tests.page.views import ONE_OF_EACH, VIEWS, View
from tests.page.walk import Walk

MAX_PAGE_BYTES = 150_000
"""Of everything that a page brings over the wire, headers included."""


@pytest.fixture(scope="module")
def walk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    with ExitStack() as stack:
        yield Walk(chromium, tmp_path_factory.mktemp("walk"), stack)


@pytest.mark.parametrize("view", ONE_OF_EACH, ids=lambda view: view.name)
def test_a_view_is_for_everybody_and_the_browser_finds_nothing_wrong(walk: Walk, view: View) -> None:
    is_well(walk, view)


def is_well(walk: Walk, view: View) -> None:
    name = "hostile" if view.scene == "small" else view.scene
    scene, _ = walk.hub(name)
    looker = walk.looker(name, view.who)
    assert looker.go(view.at(scene.names)).status == view.status
    assert findings(looker) == {}


@pytest.mark.parametrize("name", ["run-succeeded", "audit"])
def test_a_page_is_light_for_who_has_never_been_there(walk: Walk, name: str) -> None:
    """The one with the most files, and one of the longest."""
    view = next(one for one in VIEWS if one.name == name)
    scene, _ = walk.hub(view.scene)
    looker = walk.newcomer(view.scene, view.who)
    looker.go(view.at(scene.names))
    assert 10_000 < brought(looker.page) < MAX_PAGE_BYTES
